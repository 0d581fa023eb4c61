"""Images on which teacher and student differ."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.data.images import ImageSet
from compress.stages.report_samples import LARGEST_SIDE, SAMPLES, pick_samples

NAMES = ("cat", "dog", "owl")


def image_set(labels: NDArray[np.int64], size: int = 8) -> ImageSet:
    values = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    images = np.broadcast_to(values, (len(labels), size, size, 3)).copy()
    return ImageSet("test", images, labels, NAMES)


def logits(answers: list[int], sure: list[float] | float = 3.0) -> NDArray[np.float32]:
    scale = np.asarray(sure, dtype=np.float64) * np.ones(len(answers))
    return (scale[:, None] * np.eye(3)[answers]).astype(np.float32)


def test_only_disagreements_are_shown_the_most_confident_mistake_first() -> None:
    labels = np.array([0, 0, 0, 0], dtype=np.int64)
    teacher = logits([0, 0, 0, 1], 3.0)
    student = logits([0, 1, 2, 0], [9.0, 2.0, 5.0, 1.0])
    samples = pick_samples(image_set(labels), teacher, student, labels)
    assert [one.index for one in samples] == [2, 1, 3]
    first = samples[0]
    assert (first.truth, first.teacher, first.student) == ("cat", "cat", "owl")
    assert abs(first.student_probability - np.exp(5) / (np.exp(5) + 2)) < 1e-6
    assert abs(first.teacher_probability - np.exp(3) / (np.exp(3) + 2)) < 1e-6


def test_a_third_are_those_the_student_gets_right_where_there_are_enough() -> None:
    labels = np.zeros(60, dtype=np.int64)
    teacher = logits([0] * 30 + [1] * 30)
    student = logits([1] * 30 + [0] * 30)
    samples = pick_samples(image_set(labels), teacher, student, labels)
    assert len(samples) == SAMPLES
    assert sum(one.student == one.truth for one in samples) == SAMPLES // 3


def test_one_kind_takes_the_room_the_other_leaves() -> None:
    labels = np.zeros(40, dtype=np.int64)
    wrong = pick_samples(image_set(labels), logits([0] * 40), logits([1] * 40), labels)
    right = pick_samples(image_set(labels), logits([1] * 40), logits([0] * 40), labels)
    assert len(wrong) == len(right) == SAMPLES
    assert all(one.student == "dog" for one in wrong)
    assert all(one.student == "cat" for one in right)


def test_models_that_agree_have_no_samples() -> None:
    labels = np.zeros(5, dtype=np.int64)
    assert pick_samples(image_set(labels), logits([1] * 5), logits([1] * 5), labels) == ()


def test_the_png_holds_the_image_itself() -> None:
    labels = np.array([0, 1, 2, 0], dtype=np.int64)
    sample = pick_samples(image_set(labels), logits([0, 1, 2, 0]), logits([0, 1, 2, 1]), labels)[0]
    assert sample.index == 3
    with Image.open(io.BytesIO(base64.b64decode(sample.png))) as image:
        assert np.asarray(image).shape == (8, 8, 3)
        assert (np.asarray(image) == 3).all()


def test_big_images_are_made_smaller() -> None:
    labels = np.array([0], dtype=np.int64)
    images = image_set(labels, size=3 * LARGEST_SIDE)
    sample = pick_samples(images, logits([0]), logits([1]), labels)[0]
    with Image.open(io.BytesIO(base64.b64decode(sample.png))) as image:
        assert image.size == (LARGEST_SIDE, LARGEST_SIDE)
