"""The running figures of an epoch: mean loss and top-1 over its batches, on every rank."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from compress.training.distributed import World


class Figures:
    """Sums over the batches of an epoch; nothing waits for the device before they are asked for.

    Args:
        device: Where the sums are.
        world: The ranks that learn together, each from its share of a batch.
    """

    def __init__(self, device: torch.device, world: World) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)  # loss, right, labelled
        self._steps = 0
        self._world = world

    def clear(self) -> None:
        """Forget the epoch before."""
        self._sums.zero_()
        self._steps = 0

    def add(self, loss: Tensor, logits: Tensor, shown: Tensor) -> None:
        """Count a batch.

        Args:
            loss: A scalar.
            logits: (images, classes).
            shown: int64 (images,), the class of each; -1 of one that counts for the loss alone.
        """
        right = (logits.detach().argmax(dim=1) == shown).sum()
        each = (loss.detach(), right, (shown >= 0).sum())
        self._sums += torch.stack([value.double() for value in each])
        self._steps += 1

    def means(self) -> tuple[float, float]:
        """Loss per step and top-1 of the labelled images, over all ranks."""
        steps = torch.tensor([self._steps], dtype=torch.float64).to(self._sums.device)
        loss, right, labelled, count = self._world.sum(torch.cat([self._sums, steps])).tolist()
        return loss / max(1.0, count), right / max(1.0, labelled)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on; all ranks ask together, and each one's sums are in it."""
        sums = torch.zeros(self._world.size, 3, dtype=torch.float64, device=self._sums.device)
        sums[self._world.rank] = self._sums
        self._world.sum(sums)  # to zeros: each rank's own, to the bit
        loss, right, labelled = sums.unbind(dim=1)
        return {"loss_sum": loss, "correct": right, "seen": labelled, "steps_done": self._steps}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Older ones hold the sums of one rank as scalars, and one number of images for all ranks.
        """
        rank, size = self._world.rank, self._world.size
        seen = torch.as_tensor(state["seen"]).reshape(-1).expand(size)
        for row, held in enumerate((state["loss_sum"], state["correct"], seen)):
            self._sums[row] = held.reshape(-1)[rank]
        self._steps = state["steps_done"]
