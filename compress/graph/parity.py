"""Proof that a graph computes what the torch model computes, on real images."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compress.errors import UnusableError

RELATIVE_TOLERANCE = 5e-4
"""Of the largest logit. float32 sums in another order differ by 1e-6 to 1e-5 of it."""

BATCH = 64


@dataclass(frozen=True)
class Parity:
    """How far two sets of logits for the same images lie apart.

    Attributes:
        images: How many.
        max_difference: Largest absolute difference.
        agreement: Share of images with the same top-1.
        tolerance: Largest difference allowed.
    """

    images: int
    max_difference: float
    agreement: float
    tolerance: float


def torch_logits(classifier: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The reference: logits of the torch model in float32 on the CPU.

    Args:
        classifier: In evaluation mode; takes uint8 (batch, channels, size, size).
        images: uint8 (images, size, size, channels).

    Returns:
        float32 (images, classes).
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH]))
            parts.append(classifier(batch.permute(0, 3, 1, 2)).float().numpy())
    return np.concatenate(parts)


def compare(reference: NDArray[np.float32], answers: NDArray[np.float32], *, source: str) -> Parity:
    """Refuse a graph whose logits are not the torch model's.

    Args:
        reference: float32 (images, classes), of torch.
        answers: The same of the graph.
        source: The graph, for messages.

    Raises:
        UnusableError: A difference above the tolerance, or an answer that is not a number.
        ValueError: The shapes differ.
    """
    if reference.shape != answers.shape:
        raise ValueError(f"logits of shape {answers.shape} against {reference.shape}")
    tolerance = RELATIVE_TOLERANCE * max(1.0, float(np.abs(reference).max(initial=0.0)))
    difference = float(np.abs(reference - answers).max(initial=0.0))
    agreement = float((reference.argmax(axis=1) == answers.argmax(axis=1)).mean())
    if not math.isfinite(difference) or difference > tolerance:
        raise UnusableError(
            f"{source} does not compute what torch computes: logits differ by up to "
            f"{difference:.3g} on {len(reference)} images, {tolerance:.2g} is allowed; "
            f"top-1 agrees on {agreement:.2%}",
            hint="nothing was written; report this model with its options",
        )
    return Parity(len(reference), difference, agreement, tolerance)
