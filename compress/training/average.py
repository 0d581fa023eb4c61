"""An exponential moving average of a model, which is often better than the model itself."""

import copy

import torch
from torch import nn


class MovingAverage:
    """An exponential moving average of a model's weights and statistics.

    Attributes:
        model: The average, a network of its own.

    Args:
        model: What is followed; both keep their tensors, so they are looked up once.

    Source:
        Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; decay and
        its rise as in Tarvainen, Valpola, "Mean teachers", 2017, and the code beside it.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model)
        pairs = list(
            zip(self.model.state_dict().values(), model.state_dict().values(), strict=True)
        )
        moving = [pair for pair in pairs if pair[0].dtype.is_floating_point]
        self._mine = [mine for mine, _ in moving]
        self._theirs = [theirs for _, theirs in moving]
        self._counters = [pair for pair in pairs if not pair[0].dtype.is_floating_point]

    def move(self, decay: float, *, step: int) -> None:
        """Go one step: average = decay * average + (1 - decay) * model; counters are copied.

        The first steps have a smaller decay, with which the average is the mean over the steps so
        far, without the initial weights: of these a short training would keep too much.

        Args:
            decay: Of a step, from about the 1 / (1 - decay)th on.
            step: From 0, over the whole training.
        """
        decay = min(decay, step / (step + 1))
        with torch.no_grad():
            torch._foreach_lerp_(self._mine, self._theirs, 1 - decay)
            for mine, theirs in self._counters:
                mine.copy_(theirs)
