"""Figures of finished models."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from compress.errors import InputError
from compress.records.report import Answers, ReliabilityBin
from compress.render.plots import (
    Point,
    accuracy_against_macs,
    confusion,
    reliability,
    student_points,
    teacher_point,
    write_run_plots,
)
from tests.fake_run import CLASSES, TEACHER, epochs, record, student


def answers(role: str) -> Answers:
    return Answers.model_validate(
        {
            "label": role,
            "role": role,
            "ece": 0.0312,
            "reliability": [
                ReliabilityBin(count=10, confidence=0.5, top1=0.4),
                ReliabilityBin(count=90, confidence=0.9, top1=0.95),
            ],
            "confusion": [[1, 0], [0, 1]],
        }
    )


def test_one_seed_shows_its_interval_and_several_their_range() -> None:
    alone = student("small_cnn", top1=0.9)
    seeds = [student(f"mobilenet_v2-s{k}", seed=k, top1=0.93 + 0.01 * k) for k in range(3)]
    first, second = student_points([alone, *seeds])
    assert first == Point("small_cnn", "student", alone.macs, 0.9, 0.89, 0.91)
    assert (second.label, second.role) == ("mobilenet_v2", "student")
    assert (second.top1, second.low, second.high) == pytest.approx((0.94, 0.93, 0.95))


@pytest.mark.parametrize(("top1", "count"), [(0.95, 3), (0.99, 3), (346 / 360, 5), (0.9, 7)])
def test_equal_seeds_have_no_bar_of_negative_length(top1: float, count: int) -> None:
    """The rounded mean of equal values may lie beside them."""
    (point,) = student_points([student(f"a-s{k}", seed=k, top1=top1) for k in range(count)])
    assert point.low <= point.top1 <= point.high
    assert accuracy_against_macs([point], "svg")


def test_a_teacher_shows_its_interval() -> None:
    teacher = TEACHER.model_copy(update={"top1": 0.75})
    point = teacher_point(record([], teacher=teacher, test_images=12))
    low, high = binomtest(9, 12).proportion_ci(method="wilson")
    assert (point.label, point.role, point.macs) == ("resnet56 (teacher)", "teacher", TEACHER.macs)
    assert (point.low, point.top1, point.high) == pytest.approx((low, 0.75, high))


def test_a_label_that_looks_like_a_seed_is_a_student_of_its_own() -> None:
    quarter, half = student("a-s0", top1=0.8, macs=10), student("a", top1=0.9, macs=40)
    first, second = student_points([quarter, half])
    assert first == Point("a-s0", "student", 10, 0.8, quarter.top1_low, quarter.top1_high)
    assert second == Point("a", "student", 40, 0.9, half.top1_low, half.top1_high)


def test_models_trained_without_any_teacher_are_no_controls() -> None:
    assert student_points([student("resnet56", role="control")])[0].role == "student"


def test_the_plane_of_cost_and_accuracy_names_everybody() -> None:
    points = [
        teacher_point(record([])),
        *student_points([student("small_cnn"), student("small_cnn-control")], "2: "),
    ]
    text = accuracy_against_macs(points, "svg").decode()
    for name in ("resnet56 (teacher)", "2: small_cnn", "2: small_cnn-control"):
        assert f">{name}</text>" in text
    assert ">50 M</text>" in text


def test_reliability_says_the_calibration_error() -> None:
    models = [("resnet56 (teacher)", answers("teacher")), ("small_cnn", answers("student"))]
    text = reliability(models, "svg").decode()
    assert ">resnet56 (teacher): ECE 3.1%</text>" in text
    assert ">small_cnn: ECE 3.1%</text>" in text


def test_confusion_is_in_per_cent_of_the_true_class() -> None:
    matrix = np.zeros((10, 10), dtype=int)
    matrix[0, 0], matrix[0, 3] = 3, 1
    text = confusion(matrix.tolist(), CLASSES, "svg").decode()
    assert ">75</text>" in text
    assert ">25</text>" in text
    assert ">plane</text>" in text


def test_names_of_classes_are_no_formulas() -> None:
    assert b"$\\x$" in confusion([[1, 0], [0, 1]], ["$\\x$", "dog"], "svg")


def test_half_a_per_cent_is_not_shown_as_none() -> None:
    text = confusion([[995, 5], [0, 1000]], ["cat", "dog"], "svg").decode()
    assert ">0</text>" not in text


def test_classes_that_a_png_cannot_name_have_numbers_there() -> None:
    names = ["猫", "dog"]
    assert "猫</text>" in confusion([[1, 0], [0, 1]], names, "svg").decode()
    shown = confusion([[1, 0], [0, 1]], names, "png")
    assert shown == confusion([[1, 0], [0, 1]], ["狗", "x"], "png"), "of neither a letter is shown"
    assert shown != confusion([[1, 0], [0, 1]], ["0", "1"], "png"), "the axes say that"


def test_a_hundred_classes_are_drawn_without_their_names() -> None:
    names = [f"class{number}" for number in range(100)]
    text = confusion(np.eye(100, dtype=int).tolist(), names, "svg").decode()
    assert "class7" not in text
    assert ">% of the true class</text>" in text


def test_a_run_gets_its_curves_and_its_plane(tmp_path: Path) -> None:
    rows = [student("small_cnn"), student("small_cnn-control")]
    files = write_run_plots(tmp_path / "plots", epochs(["small_cnn"]), rows, record(rows))
    assert [path.name for path in files] == ["accuracy-macs.png", "curves.png"]
    for path in files:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.verify()


def test_a_run_without_epochs_gets_no_curves(tmp_path: Path) -> None:
    files = write_run_plots(tmp_path, [], [student("small_cnn")])
    assert [path.name for path in files] == ["accuracy-macs.png"]


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("in the way")
    with pytest.raises(InputError, match="plots"):
        write_run_plots(tmp_path / "plots", [], [student("small_cnn")])
