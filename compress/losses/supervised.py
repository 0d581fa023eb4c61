"""The loss on the labels themselves, beside which the distillation losses stand."""

import torch.nn.functional as F
from torch import Tensor

from compress.losses.precision import precise


def cross_entropy(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the softmax of logits, averaged over the batch.

    Args:
        logits: Shape (batch, classes), any float dtype; gradients flow into it.
        targets: int64 labels of shape (batch,), or, for blended images and soft labels, float
            probabilities of shape (batch, classes) whose rows sum to 1. A row of an unlabelled
            image sums to less, down to 0, and counts for as much less.
        label_smoothing: Share of every target given to the uniform distribution, in [0, 1).

    Returns:
        A scalar in nats, float64 for float64 logits, else float32.

    Raises:
        ValueError: The targets fit neither shape.

    Source:
        Smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
        CVPR 2016, section 7.
    """
    logits = precise(logits)
    if targets.is_floating_point():
        if targets.shape != logits.shape:
            raise ValueError(
                f"float targets {tuple(targets.shape)}, logits {tuple(logits.shape)} must be equal"
            )
        targets = targets.to(logits.dtype)
        if label_smoothing:
            known = targets.sum(dim=1, keepdim=True)
            targets = (1 - label_smoothing) * targets + label_smoothing / logits.shape[1] * known
            label_smoothing = 0.0
    elif targets.shape != logits.shape[:1]:
        raise ValueError(f"labels {tuple(targets.shape)} do not fit logits {tuple(logits.shape)}")
    return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
