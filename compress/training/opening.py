"""Opening the store of a teacher's answers: its own accuracy comes first."""

from collections.abc import Callable
from pathlib import Path

from compress.errors import InputError
from compress.evaluate import wilson
from compress.records.soft_labels import TeacherDescription
from compress.training.soft_labels import SoftLabels
from compress.training.teachers import Teacher

FEW = 30
"""Test images below which a good teacher may look like chance."""


def check_accuracy(description: TeacherDescription, source: str, *, images: int) -> None:
    """Refuse a teacher that knows nothing.

    Args:
        description: Holds its test accuracy.
        source: Where it comes from, for messages.
        images: On how many test images its accuracy was measured.

    Raises:
        InputError: It does no better than chance: 99% of guessing models would do worse, or not
            even that.
    """
    chance = 1 / len(description.class_names)
    low, _ = wilson(round(description.top1 * images), images, confidence=0.98)
    if low <= chance and images < FEW and description.top1 > chance:
        raise InputError(
            f"teacher {source} has {description.top1:.1%} test top-1 on only {images:,} images, "
            f"too few to tell it from chance ({chance:.1%})",
            hint="more test images are needed",
        )
    if low <= chance:
        raise InputError(
            f"teacher {source} has {description.top1:.1%} test top-1 on {images:,} images, "
            f"no better than chance ({chance:.1%})",
            hint="check its normalization option, its classes and its weights",
        )


def open_soft_labels(
    teacher: Teacher, folder: Path, *, limit_bytes: int, tell: Callable[[str], None]
) -> tuple[SoftLabels, TeacherDescription]:
    """The stored answers of a teacher, with its own accuracy measured if it is not there yet.

    Args:
        teacher: Answers what is missing.
        folder: Of all soft labels.
        limit_bytes: Size that folder may grow to.
        tell: Told, in one line, of a damaged file that is made again.
    """
    labels = SoftLabels(folder / teacher.key(), limit_bytes=limit_bytes)
    begun = labels.is_described()
    try:
        labels.read_evaluation()
        return labels, labels.description()
    except InputError as error:
        if begun:
            tell(f"{error.message}; measuring the teacher again")
        validation, test = teacher.evaluation()
        description = teacher.describe(validation, test)
        labels.write_evaluation(validation, test)
        labels.describe(description)
        return labels, description
