"""Curves of loss and accuracy."""

import io
import re
from collections.abc import Callable

import pytest
from matplotlib.axes import Axes
from PIL import Image

from compress.records.distill import StudentRow
from compress.records.run import EpochRecord
from compress.render import learning_curves
from compress.render.canvas import PALETTE
from compress.render.learning_curves import accuracy, curves, training_loss, validation_loss
from tests.fake_run import epochs, student

ROWS = [student("small_cnn"), student("small_cnn-control")]
EPOCHS = epochs([row.label for row in ROWS], count=5)
Drawing = Callable[[list[EpochRecord], list[StudentRow], str], bytes]


@pytest.mark.parametrize("drawing", [training_loss, validation_loss, accuracy])
def test_every_student_and_control_has_a_line_with_its_name(drawing: Drawing) -> None:
    text = drawing(EPOCHS, ROWS, "svg").decode()
    assert ">small_cnn</text>" in text
    assert ">small_cnn-control</text>" in text
    assert ">epoch</text>" in text


def test_seeds_share_a_line_that_is_their_mean() -> None:
    rows = [student("small_cnn-s0", seed=0), student("small_cnn-s1", seed=1)]
    lines = learning_curves._lines(epochs([row.label for row in rows], count=3), rows)
    assert [name for name, *_ in lines] == ["small_cnn"]
    assert [len(seed) for seed in lines[0][3]] == [3, 3]
    text = accuracy(epochs([row.label for row in rows]), rows, "svg").decode()
    assert ">small_cnn</text>" in text
    assert "small_cnn-s0" not in text


def test_seeds_that_stopped_at_different_epochs_are_compared_as_far_as_both_go() -> None:
    rows = [student("small_cnn-s0", seed=0), student("small_cnn-s1", seed=1)]
    both = epochs([row.label for row in rows], count=4)
    cut = [one for one in both if one.label == "small_cnn-s0" or one.epoch <= 2]
    lines = learning_curves._lines(cut, rows)
    assert lines[0][2].tolist() == [1, 2]


def test_a_student_without_epochs_has_no_line() -> None:
    assert [name for name, *_ in learning_curves._lines(EPOCHS[:1], ROWS)] == ["small_cnn"]


def test_only_beside_students_are_controls_drawn_as_such() -> None:
    alone = [student("resnet56", role="control")]
    assert learning_curves._lines(epochs(["resnet56"]), alone)[0][1] is False
    assert learning_curves._lines(EPOCHS, ROWS)[1][1] is True


def test_a_single_epoch_can_be_drawn() -> None:
    with Image.open(io.BytesIO(curves(epochs(["small_cnn"], count=1), ROWS[:1], "png"))) as image:
        assert image.width > 2 * image.height


def test_a_student_keeps_its_colour_where_another_has_no_epochs(panels: list[Axes]) -> None:
    rows = [student(name) for name in "abc"]
    accuracy(epochs(["a", "c"]), rows, "svg")
    lines = {line.get_label(): line for line in panels[0].lines}
    assert lines["a"].get_color() == PALETTE[0]
    assert lines["c"].get_color() == PALETTE[2]


def test_training_curves_of_one_colour_differ_in_their_dots() -> None:
    labels = [f"s{number}" for number in range(len(PALETTE) + 1)]
    text = accuracy(epochs(labels), [student(label) for label in labels], "svg").decode()
    dashes = re.findall(rf"stroke-dasharray: ([^;]+);[^>]*stroke: {PALETTE[0]}", text)
    assert len(set(dashes)) == 3, "the ninth is dash-dotted, and each is dotted in its own way"
