"""Rotation of a batch, each image by its own angle, in whole-number arithmetic."""

import torch
from torch import Tensor

FRACTION_BITS = 16


def rotate(batch: Tensor, degrees: Tensor) -> Tensor:
    """Turn images around their centres; every pixel is that of the nearest source, outside is 0.

    Does what torchvision's `rotate` does with its defaults, without a call per image. Source
    positions are computed in integers with 16 fractional bits, so the pixels are the same on every
    device; where a position lies halfway between two pixels the two may choose differently.

    Args:
        batch: uint8 (batch, height, width, channels), contiguous.
        degrees: float32 (batch,), counter-clockwise.

    Returns:
        uint8, the same shape.
    """
    count, height, width, channels = batch.shape
    radians = torch.deg2rad(degrees.double())
    scale = float(1 << FRACTION_BITS)
    cosine, sine = (
        (trigonometric * scale).round().long()[:, None, None]
        for trigonometric in (radians.cos(), radians.sin())
    )
    # Twice the distance from the centre is a whole number for even and odd sides alike.
    x = (2 * torch.arange(width, device=batch.device) - (width - 1))[None, None, :]
    y = (2 * torch.arange(height, device=batch.device) - (height - 1))[None, :, None]
    source_x = _nearest(cosine * x - sine * y, width)
    source_y = _nearest(sine * x + cosine * y, height)
    outside = (source_x < 0) | (source_x >= width) | (source_y < 0) | (source_y >= height)
    image = torch.arange(count, device=batch.device)[:, None, None] * (height * width)
    flat = image + source_y.clamp(0, height - 1) * width + source_x.clamp(0, width - 1)
    picked = batch.view(-1, channels).index_select(0, flat.view(-1)).view(batch.shape)
    return picked.masked_fill(outside[..., None], 0)


def _nearest(doubled: Tensor, size: int) -> Tensor:
    """The pixel under twice its distance from the centre, given with 16 fractional bits."""
    position = doubled + ((size - 1) << FRACTION_BITS)  # twice the coordinate
    return (position + (1 << FRACTION_BITS)) >> (FRACTION_BITS + 1)
