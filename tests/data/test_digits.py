"""The digits that come with scikit-learn."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from compress.data import digits
from compress.data.images import ImageSet
from compress.errors import MachineError
from compress.progress import Silent
from compress.version import install_hint


def read(split: str) -> ImageSet:
    found = digits.read(split, data_dir=None, download=False, progress=Silent())
    assert found is not None
    return found


def test_the_split_has_1437_and_360_images_and_no_validation():
    assert read("train").count == 1437
    assert read("test").count == 360
    assert digits.read("validation", data_dir=None, download=False, progress=Silent()) is None


def test_every_digit_is_in_exactly_one_split():
    raw = load_digits()
    expected = sorted(
        (grey * 255 / 16 + 0.5).astype(np.uint8).tobytes() + bytes([label])
        for grey, label in zip(raw.images, raw.target, strict=True)
    )
    found = []
    for split in ("train", "test"):
        images = read(split)
        for pixels, label in zip(images.images[:], images.known_labels, strict=True):
            assert (pixels == pixels[..., :1]).all()
            found.append(np.ascontiguousarray(pixels[..., 0]).tobytes() + bytes([label]))
    assert sorted(found) == expected


def test_every_class_gives_its_share():
    counts = np.bincount(load_digits().target)
    test = np.bincount(read("test").known_labels)
    assert (abs(test - counts * 360 / 1797) < 1).all()


def test_without_scikit_learn_the_line_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MachineError, match="scikit-learn") as caught:
        read("test")
    assert caught.value.hint == install_hint("train")
