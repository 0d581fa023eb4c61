"""Figures of finished models."""

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from PIL import Image
from scipy.stats import binomtest

from compress.errors import InputError
from compress.records.report import Answers, ReliabilityBin
from compress.render.canvas import INK, PALETTE, Shade
from compress.render.plots import (
    LEAST_IMAGES,
    Point,
    accuracy_against_macs,
    confusion,
    reliability,
    side_by_side,
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


def test_the_numbers_of_a_wide_axis_are_further_apart() -> None:
    points = student_points([student("a", macs=10**6), student("b", macs=10**9)])
    text = accuracy_against_macs(points, "svg").decode()
    assert ">10 M</text>" in text
    assert ">20 M</text>" not in text


def test_points_have_the_shades_of_their_run(panels: list[Axes]) -> None:
    points = student_points([student("a"), student("b")])
    accuracy_against_macs(points, "svg", {"a": Shade(PALETTE[5], 2), "b": Shade(PALETTE[3])})
    marks = [(bars[0].get_color(), bars[0].get_marker()) for bars in panels[0].containers]
    assert marks == [(PALETTE[5], "^"), (PALETTE[3], "o")]


@pytest.mark.parametrize("other", [40_000_000, 4_000_000_000])
@pytest.mark.parametrize("count", [2, 5, 12])
def test_models_of_one_cost_stand_beside_each_other_on_any_axis(count: int, other: int) -> None:
    """On a panel of 280 points no mark (of 7) hides the bar in the middle of another."""
    places, (low, high) = side_by_side([4_000_000] * count + [other])
    panel = 280 * np.diff(np.log([low, *places[:count], high])) / np.log(high / low)
    assert panel[1:-1] == pytest.approx(np.full(count - 1, panel[1]))
    assert panel[1] > 6
    assert panel.min() > 3, "all stand inside the axis"
    assert np.prod(places[:count]) ** (1 / count) == pytest.approx(4_000_000)


def test_models_of_one_cost_stay_on_their_half_of_the_way_to_the_next() -> None:
    costs = [10**7] * 9 + [2 * 10**7] * 9 + [10**9]
    places, _ = side_by_side(costs)
    middle = (10**7 * 2 * 10**7) ** 0.5
    assert max(places[:9]) < middle < min(places[9:18])
    assert places[18] == pytest.approx(10**9)


def test_a_model_of_its_own_cost_stands_there() -> None:
    places, ends = side_by_side([10**6, 10**8])
    assert places == pytest.approx([10**6, 10**8])
    assert ends == pytest.approx((10**6 / 1.8, 1.8 * 10**8))


def test_reliability_says_the_calibration_error() -> None:
    models = [
        ("resnet56 (teacher)", Shade(INK), answers("teacher")),
        ("small_cnn", Shade(PALETTE[0]), answers("student")),
    ]
    text = reliability(models, "svg").decode()
    assert ">resnet56 (teacher): ECE 3.1%</text>" in text
    assert ">small_cnn: ECE 3.1%</text>" in text


def test_the_line_of_reliability_leaves_out_what_a_few_images_say(panels: list[Axes]) -> None:
    counts = {0.1: 1, 0.3: LEAST_IMAGES - 1, 0.5: LEAST_IMAGES, 0.7: 1, 0.9: 300}
    bins = [ReliabilityBin(count=n, confidence=x, top1=x) for x, n in counts.items()]
    told = answers("student").model_copy(update={"reliability": tuple(bins)})
    reliability([("a", Shade(PALETTE[2]), told)], "svg")
    (axes,) = panels
    line = axes.lines[-1]
    assert line.get_color() == PALETTE[2]
    assert np.asarray(line.get_xdata()).tolist() == [0.5, 0.9]
    full, few = axes.collections
    assert np.asarray(full.get_offsets())[:, 0].tolist() == [0.5, 0.9]
    assert np.asarray(few.get_offsets())[:, 0].tolist() == [0.1, 0.3, 0.7]
    assert np.shape(full.get_facecolor()) == (1, 4)
    assert np.shape(few.get_facecolor()) == (0, 4), "hollow"
    assert to_hex(np.asarray(few.get_edgecolor())[0]) == PALETTE[2]


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
    assert ">answer (number)</text>" in text
    assert ">true class (number)</text>" in text


def test_axes_with_names_speak_of_no_numbers() -> None:
    assert b"(number)" not in confusion([[1, 0], [0, 1]], ["cat", "dog"], "svg")


def test_ticks_of_numbers_are_whole(panels: list[Axes]) -> None:
    confusion(np.eye(21, dtype=int).tolist(), [f"class{number}" for number in range(21)], "svg")
    for ticks in (panels[0].get_xticks(), panels[0].get_yticks()):
        assert (ticks == np.round(ticks)).all()


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
