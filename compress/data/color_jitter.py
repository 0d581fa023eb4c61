"""Brightness, contrast, saturation and hue of a batch, each image by its own amount.

What torchvision's functionals `adjust_brightness` … `adjust_hue` do to one image, without a call
per image. Factors are multiples of 1/1024, so the float32 products and sums below are exact; hue
uses nothing but single correctly rounded operations. So the bytes are the same on every machine.
One difference: contrast is about the mean grey rounded to a whole number, as in Pillow, because a
fraction would not be exact; it moves a pixel by one at most.
"""

from collections.abc import Callable

import torch
from torch import Tensor

STRETCH = 255.999 / 255.0  # torchvision's way from floats to bytes: floor(x * 255.999)


def adjust_brightness(batch: Tensor, factor: Tensor) -> Tensor:
    """Multiply every pixel.

    Args:
        batch: uint8 (batch, 3, height, width).
        factor: float32 (batch,), 0 to 2, multiples of 1/1024; 1 changes nothing.

    Returns:
        uint8, the same shape; fractions are cut off.
    """
    return _bytes(batch * factor[:, None, None, None])


def adjust_contrast(batch: Tensor, factor: Tensor) -> Tensor:
    """Move every pixel away from the image's mean grey; arguments as in `adjust_brightness`."""
    grey = _grey(batch)
    pixels = grey.shape[2] * grey.shape[3]
    mean = (2 * grey.sum(dim=(1, 2, 3), dtype=torch.int64) + pixels) // (2 * pixels)
    return _blend(batch, mean.float()[:, None, None, None], factor)


def adjust_saturation(batch: Tensor, factor: Tensor) -> Tensor:
    """Move every pixel away from its own grey; arguments as in `adjust_brightness`."""
    return _blend(batch, _grey(batch).float(), factor)


def adjust_hue(batch: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of every pixel.

    Args:
        batch: uint8 (batch, 3, height, width).
        turns: float32 (batch,), -0.5 to 0.5 turns of the colour circle; 0 changes nothing.

    Returns:
        uint8, the same shape; each 256th of the range of a component becomes one value.

    Source:
        Smith, "Color gamut transform pairs", SIGGRAPH 1978: hue, saturation and value of a pixel
        and the way back.
    """
    red, green, blue = batch.float().unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    divisor = torch.where(chroma == 0, 1.0, chroma)
    # Sixths of a turn from red, in the sector of the largest component (red wins ties).
    from_red = (green - blue) / divisor
    from_green = (blue - red) / divisor + 2.0
    from_blue = (red - green) / divisor + 4.0
    hue = torch.where(value == red, from_red, torch.where(value == green, from_green, from_blue))
    hue = _sixths(hue + 6.0 * turns[:, None, None])
    channels = []
    for offset in (5.0, 3.0, 1.0):
        position = _sixths(hue + offset)
        share = torch.minimum(position, 4.0 - position).clamp(0.0, 1.0)
        channels.append(value - chroma * share)
    return _bytes(torch.stack(channels, dim=1) * STRETCH)


ADJUSTMENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
}


def _sixths(hue: Tensor) -> Tensor:
    """Bring hues from less than a turn outside back into 0 to 6, by sums alone."""
    raised = torch.where(hue < 0.0, hue + 6.0, hue)
    return torch.where(raised >= 6.0, raised - 6.0, raised)


def _grey(batch: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) without its fraction: int32 (batch, 1, height, width)."""
    red, green, blue = batch.to(torch.int32).unbind(1)
    return ((2989 * red + 5870 * green + 1140 * blue) // 10000)[:, None]


def _blend(batch: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    share = factor[:, None, None, None]
    return _bytes(batch * share + other * (1.0 - share))


def _bytes(values: Tensor) -> Tensor:
    return values.clamp(0.0, 255.0).to(torch.uint8)
