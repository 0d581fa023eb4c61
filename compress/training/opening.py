"""Opening the store of a teacher's answers: its own accuracy comes first."""

from pathlib import Path

from compress.errors import InputError
from compress.records.soft_labels import TeacherDescription
from compress.training.soft_labels import SoftLabels
from compress.training.teachers import Teacher


def check_accuracy(description: TeacherDescription, source: str) -> None:
    """Refuse a teacher that knows nothing.

    Raises:
        InputError: Its test accuracy is at or below chance.
    """
    chance = 1 / len(description.class_names)
    if description.top1 <= chance * 1.05:
        raise InputError(
            f"teacher {source} has {description.top1:.1%} test top-1, chance is {chance:.1%}",
            hint="check its normalization option, its classes and its weights",
        )


def open_soft_labels(
    teacher: Teacher, folder: Path, *, limit_bytes: int
) -> tuple[SoftLabels, TeacherDescription]:
    """The stored answers of a teacher, with its own accuracy measured if it is not there yet."""
    labels = SoftLabels(folder / teacher.key(), limit_bytes=limit_bytes)
    try:
        labels.read_evaluation()
        return labels, labels.description()
    except InputError:
        validation, test = teacher.evaluation()
        description = teacher.describe(validation, test)
        labels.write_evaluation(validation, test)
        labels.describe(description)
        return labels, description
