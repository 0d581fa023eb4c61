"""The number format that losses are computed in, whatever the models run in."""

import torch
from torch import Tensor


def precise(values: Tensor) -> Tensor:
    """The same values in float32, or as they are where they are float64.

    A loss is a small difference of large numbers; bfloat16 logits have two to three digits, and a
    softmax over them in bfloat16 would leave nothing of it.
    """
    return values if values.dtype == torch.float64 else values.float()


def nonnegative(values: Tensor) -> Tensor:
    """Lift values below 0 to 0 and leave every gradient as it is.

    For quantities that are never negative but may round to -1e-9. A clamp would also cut the
    gradient there, which is small and right.
    """
    return values + (-values).clamp(min=0).detach()
