"""A model's answers to validation and test images, as a run keeps them."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.data.images import Splits
from compress.errors import InputError
from compress.files import atomic_path


def predictions_name(label: str) -> str:
    """Where a model's answers lie in its run; `teacher` is the teacher's label."""
    return f"predictions/{label}.npz"


def write_predictions(
    folder: Path,
    label: str,
    splits: Splits,
    validation: NDArray[np.float32],
    test: NDArray[np.float32],
) -> None:
    """Keep validation and test logits with their labels as predictions/<label>.npz.

    Raises:
        InputError: The file cannot be written.
    """
    with atomic_path(folder / predictions_name(label)) as part, part.open("wb") as stream:
        np.savez(
            stream,
            val_logits=validation,
            test_logits=test,
            val_labels=splits.validation.known_labels,
            test_labels=splits.test.known_labels,
        )


def read_predictions(folder: Path, label: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Validation and test logits of a student.

    Raises:
        InputError: Missing or damaged.
    """
    validation, test = _arrays(folder / predictions_name(label), "val_logits", "test_logits")
    return validation, test


def read_test(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits and labels of the test images.

    Args:
        path: A file of `write_predictions`.

    Raises:
        InputError: Missing or damaged.
    """
    logits, labels = _arrays(path, "test_logits", "test_labels")
    return logits, labels.astype(np.int64)


def _arrays(path: Path, *names: str) -> list[NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is missing or damaged: {error}") from error
