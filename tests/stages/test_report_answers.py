"""What a report says of one model's answers."""

import numpy as np
import pytest

from compress.records.report import Agreement, ClassRow
from compress.stages.report_answers import (
    Predictions,
    by_class,
    describe,
    numbers,
    who_is_right,
)

LABELS = np.array([0, 0, 0, 1, 1, 1], dtype=np.int64)


def answering(answers: list[int], sure: float = 4.0, classes: int = 3) -> Predictions:
    return Predictions((sure * np.eye(classes)[answers]).astype(np.float32), LABELS)


TEACHER = answering([0, 0, 1, 1, 1, 0])
STUDENT = answering([0, 1, 0, 1, 2, 0])


def test_right_answers_are_those_of_the_label() -> None:
    assert TEACHER.right.tolist() == [True, True, False, True, True, False]


def test_test_images_are_counted_by_who_is_right() -> None:
    assert who_is_right(STUDENT, TEACHER) == Agreement(
        both=2, teacher_only=2, student_only=1, neither=1
    )


def test_each_class_is_compared_with_the_teacher() -> None:
    assert by_class(STUDENT, TEACHER, ("cat", "dog", "none")) == (
        ClassRow(name="cat", images=3, top1=2 / 3, teacher_top1=2 / 3, lost=1, won=1),
        ClassRow(name="dog", images=3, top1=1 / 3, teacher_top1=2 / 3, lost=1, won=0),
        ClassRow(name="none", images=0, top1=0.0, teacher_top1=0.0, lost=0, won=0),
    )


def test_without_a_teacher_there_is_nothing_to_lose() -> None:
    assert by_class(STUDENT, None, ("cat", "dog"))[0] == ClassRow(name="cat", images=3, top1=2 / 3)


def test_empty_bins_are_left_out() -> None:
    told = describe("small_cnn", "student", STUDENT)
    sure = float(np.exp(4) / (np.exp(4) + 2))
    assert len(told.reliability) == 1
    assert told.reliability[0].count == 6
    assert told.reliability[0].confidence == pytest.approx(sure)
    assert told.reliability[0].top1 == pytest.approx(0.5)
    assert told.ece == pytest.approx(sure - 0.5)


def test_confusion_has_the_true_class_in_its_rows() -> None:
    assert describe("small_cnn", "student", STUDENT).confusion == (
        (2, 1, 0),
        (1, 1, 1),
        (0, 0, 0),
    )


def test_classes_without_names_are_numbered() -> None:
    assert numbers(STUDENT) == ("0", "1", "2")
