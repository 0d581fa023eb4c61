"""A model's answers come back from its run as they went in, with the labels beside them."""

from pathlib import Path

import numpy as np
import pytest

from compress.errors import InputError
from compress.training.predictions import (
    predictions_name,
    read_predictions,
    read_test,
    write_predictions,
)
from tests.tiny_training import digits

GENERATOR = np.random.default_rng(0)
VALIDATION, TEST = (GENERATOR.normal(size=(60, 10)).astype(np.float32) for _ in range(2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that kept the answers of `tiny`."""
    write_predictions(tmp_path, "tiny", digits(), VALIDATION, TEST)
    return tmp_path


def test_logits_of_both_splits_come_back(folder: Path) -> None:
    validation, test = read_predictions(folder, "tiny")
    assert validation.dtype == test.dtype == np.float32
    assert np.array_equal(validation, VALIDATION)
    assert np.array_equal(test, TEST)


def test_test_images_come_back_with_their_labels(folder: Path) -> None:
    logits, labels = read_test(folder / predictions_name("tiny"))
    assert np.array_equal(logits, TEST)
    assert labels.dtype == np.int64
    assert np.array_equal(labels, digits().test.known_labels)


@pytest.mark.parametrize("harm", ["cut", "gone", "other arrays"])
def test_what_holds_no_predictions_is_an_input_error(folder: Path, harm: str) -> None:
    path = folder / predictions_name("tiny")
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:40])
    elif harm == "gone":
        path.unlink()
    else:
        with path.open("wb") as stream:
            np.savez(stream, other=TEST)
    with pytest.raises(InputError, match=r"tiny\.npz is missing or damaged"):
        read_predictions(folder, "tiny")
    with pytest.raises(InputError, match=r"tiny\.npz is missing or damaged"):
        read_test(path)
