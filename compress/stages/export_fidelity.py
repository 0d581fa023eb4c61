"""Compares the forms of a model on real images, paired image by image."""

import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compress import evaluate
from compress.data.images import ImageSet
from compress.measure import accuracy
from compress.progress import Progress
from compress.records.artifact import Fidelity
from compress.records.model_card import ModelCard, Precision

Logits = NDArray[np.float32]

PARITY_IMAGES = 1000
"""Compared with torch; fewer where there are fewer test images."""

TEST_MACS = 2.5e12
VALIDATION_MACS = 6e11
"""Multiply-accumulates spent on measuring one form: about 25 s and 6 s of two AVX-512 cores."""

NOISE_IMAGES = 64
LOUDEST_DB = 200.0
"""Stands for no noise at all, which has no decibels."""


def evenly(images: ImageSet, count: int) -> ImageSet:
    """At most `count` images, spread evenly over the set; the set itself when it is smaller."""
    return images if count >= images.count else images.subset(spread(images.count, count))


def spread(total: int, count: int) -> NDArray[np.int64]:
    """At most `count` of `total` row numbers, evenly spaced, the first and last among them."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))


def affordable(macs: int, budget: float, *, least: int) -> int:
    """How many images a budget of multiply-accumulates pays for, at least `least`."""
    return max(least, int(budget // max(macs, 1)))


def answers(
    data: bytes,
    card: ModelCard,
    images: ImageSet,
    *,
    unsaturated: bool = False,
    progress: Progress | None = None,
) -> Logits:
    """A form's logits for images, on every core.

    Raises:
        UnusableError: An answer is not a number.
    """
    with tempfile.TemporaryDirectory(prefix="compress-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(data)
        return accuracy.logits(path, card, images, unsaturated=unsaturated, progress=progress)


def fidelity(
    precision: Precision,
    *,
    reference: Logits,
    given: Logits,
    labels: NDArray[np.int64] | None,
    against: Literal["torch", "fp32"],
    split: Literal["test", "validation"],
    unsaturated: bool = False,
) -> Fidelity:
    """How one form answers compared with another, on the same images.

    Args:
        precision: Of the form.
        reference: float32 (images, classes) of what it was made from.
        given: The same of the form.
        labels: int64 (images,), or None.
        against: What the reference is.
        split: Where the images come from.
        unsaturated: Whether the form ran with this CPU's saturation off.
    """
    drop = low = high = top1 = reference_top1 = None
    if labels is not None:
        reference_top1, top1 = evaluate.top1(reference, labels), evaluate.top1(given, labels)
        drop = reference_top1 - top1
        low, high = evaluate.paired_interval(
            reference.argmax(axis=1) == labels, given.argmax(axis=1) == labels
        )
    return Fidelity(
        precision=precision,
        reference=against,
        split=split,
        images=len(given),
        max_difference=float(np.abs(reference - given).max()),
        agreement=evaluate.agreement(reference, given),
        top1=top1,
        reference_top1=reference_top1,
        drop=drop,
        drop_low=low,
        drop_high=high,
        sqnr_db=min(LOUDEST_DB, evaluate.sqnr_db(reference, given)),
        unsaturated=unsaturated,
    )
