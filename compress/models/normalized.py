"""A model that takes images as they are stored, and normalises them itself."""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn


class Normalized(nn.Module):
    """A model with its normalisation in front of it.

    The normalisation is computed in float32 whatever the model's number format, from the exact
    mean and standard deviation: converting the whole to bfloat16 must not round them.

    Args:
        model: From normalised float images to logits; kept under the name `model`.
        mean: Per channel, of images with values 0-1.
        std: Per channel, above 0.

    Raises:
        ValueError: Mean and standard deviation are not of one length, or one is not above 0.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or min(std, default=0) <= 0:
            raise ValueError(f"mean {mean} and std {std} are not one positive pair per channel")
        self.model = model
        self.mean = tuple(mean)
        self.std = tuple(std)
        # Not in the state dict: weight files hold the network alone and say this in their header.
        self.register_buffer("scale", torch.empty(0), persistent=False)
        self.register_buffer("shift", torch.empty(0), persistent=False)
        self._fill("cpu")

    def forward(self, images: Tensor) -> Tensor:
        """Normalise and classify.

        Args:
            images: Shape (batch, channels, height, width); uint8 0-255, or float 0-1. The memory
                format is kept.

        Returns:
            Logits of shape (batch, classes).
        """
        scale = self.scale if images.is_floating_point() else self.scale / 255
        normalised = images.to(torch.float32) * scale + self.shift
        weight = next(self.model.parameters(), normalised)
        logits: Tensor = self.model(normalised.to(weight.dtype))
        return logits

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._fill(self.scale.device)
        return self

    def _fill(self, device: torch.device | str) -> None:
        mean = torch.tensor(self.mean, dtype=torch.float64).reshape(-1, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float64).reshape(-1, 1, 1)
        self.scale = (1 / std).to(device, torch.float32)
        self.shift = (-mean / std).to(device, torch.float32)
