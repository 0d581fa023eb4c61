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
        Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; decay as
        in Tarvainen, Valpola, "Mean teachers", 2017.
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

    def move(self, decay: float) -> None:
        """Go one step: average = decay * average + (1 - decay) * model; counters are copied."""
        with torch.no_grad():
            torch._foreach_lerp_(self._mine, self._theirs, 1 - decay)
            for mine, theirs in self._counters:
                mine.copy_(theirs)
