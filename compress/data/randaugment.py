"""RandAugment's operations, by torchvision's functionals with a view's choices.

All images with the same operation and direction share its strength, so each combination is one
call. torchvision's own transform class draws one operation for a whole batch, from the global
generator.

Source: Cubuk, Zoph, Shlens, Le, "RandAugment", NeurIPS 2020, with torchvision's 14 operations and
31 levels of strength.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional

from compress.data.transfer import on_device
from compress.data.views import RANDAUGMENT_OPERATIONS

LEVELS = 31
TRANSLATION = 150.0 / 331.0  # largest shift, as a share of the side
Operation = Callable[[Tensor, float, int], Tensor]  # images, strength 0 to 1, direction 1 or -1


def apply(
    batch: Tensor,
    operations: NDArray[np.int64],
    signs: NDArray[np.int64],
    *,
    magnitude: int,
) -> Tensor:
    """Apply each image's operations, one after the other.

    The choices are on the host, where they decide what is called: a GPU is never waited for.

    Args:
        batch: uint8 (batch, 3, height, width).
        operations: int64 (batch, n), indices into `RANDAUGMENT_OPERATIONS`.
        signs: int64 (batch, n), 1 or -1; ignored by operations without a direction.
        magnitude: Strength of all of them, 0 to 30.

    Returns:
        uint8, the same shape.
    """
    strength = magnitude / (LEVELS - 1)
    # Images that have both in common lie side by side in `order`, in each round's own order.
    kinds = 2 * operations + (signs < 0)
    order = np.argsort(kinds, axis=0, kind="stable")
    rows = on_device(torch.from_numpy(order.T.copy()), batch.device)
    for step in range(kinds.shape[1]):
        found, firsts = np.unique(kinds[order[:, step], step], return_index=True)
        result = batch.clone()
        for kind, first, end in zip(found, firsts, [*firsts[1:], len(batch)], strict=True):
            operation = _OPERATIONS[RANDAUGMENT_OPERATIONS[kind // 2]]
            chosen = rows[step, first:end]
            result[chosen] = operation(batch[chosen], strength, -1 if kind % 2 else 1)
        batch = result
    return batch


def _affine(
    batch: Tensor,
    *,
    shear: tuple[float, float] = (0.0, 0.0),
    translate: tuple[int, int] = (0, 0),
    corner: bool = False,
) -> Tensor:
    return torch.as_tensor(
        functional.affine(
            batch,
            angle=0.0,
            translate=list(translate),
            scale=1.0,
            shear=list(shear),
            center=[0, 0] if corner else None,
        )
    )


def _shear_x(batch: Tensor, strength: float, direction: int) -> Tensor:
    angle = math.degrees(math.atan(0.3 * strength * direction))
    return _affine(batch, shear=(angle, 0.0), corner=True)


def _shear_y(batch: Tensor, strength: float, direction: int) -> Tensor:
    angle = math.degrees(math.atan(0.3 * strength * direction))
    return _affine(batch, shear=(0.0, angle), corner=True)


def _translate_x(batch: Tensor, strength: float, direction: int) -> Tensor:
    return _affine(batch, translate=(int(TRANSLATION * batch.shape[3] * strength) * direction, 0))


def _translate_y(batch: Tensor, strength: float, direction: int) -> Tensor:
    return _affine(batch, translate=(0, int(TRANSLATION * batch.shape[2] * strength) * direction))


def _factor(adjust: Callable[[Tensor, float], Tensor]) -> Operation:
    return lambda batch, strength, direction: adjust(batch, 1.0 + 0.9 * strength * direction)


def _posterize(batch: Tensor, strength: float, _direction: int) -> Tensor:
    return torch.as_tensor(functional.posterize(batch, bits=8 - round(4 * strength)))


def _solarize(batch: Tensor, strength: float, _direction: int) -> Tensor:
    return torch.as_tensor(functional.solarize(batch, threshold=255.0 * (1.0 - strength)))


_OPERATIONS: dict[str, Operation] = {
    "identity": lambda batch, _strength, _direction: batch,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": lambda batch, strength, direction: functional.rotate(
        batch, angle=30.0 * strength * direction
    ),
    "brightness": _factor(functional.adjust_brightness),
    "color": _factor(functional.adjust_saturation),
    "contrast": _factor(functional.adjust_contrast),
    "sharpness": _factor(functional.adjust_sharpness),
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": lambda batch, _strength, _direction: functional.autocontrast(batch),
    "equalize": lambda batch, _strength, _direction: functional.equalize(batch),
}
