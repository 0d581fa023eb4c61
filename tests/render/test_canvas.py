"""The look of figures, and their bytes."""

import io
import re

import pytest
from matplotlib.axes import Axes
from PIL import Image

from compress.render.canvas import INK, PALETTE, Shade, drawable, run_shades, shades, single
from tests.fake_run import student


def draw(axes: Axes) -> None:
    axes.plot([1, 2], [3, 4], label="a line")
    axes.set_xlabel("steps")


def test_a_png_can_be_read_by_others() -> None:
    with Image.open(io.BytesIO(single(draw, "png"))) as image:
        assert image.format == "PNG"
        assert image.width == 4.6 * 150


def test_an_svg_keeps_its_words_as_text() -> None:
    text = single(draw, "svg").decode()
    assert ">steps</text>" in text
    assert ">a line</text>" in text


@pytest.mark.parametrize("image", ["png", "svg"])
def test_equal_content_makes_equal_bytes(image: str) -> None:
    assert single(draw, image) == single(draw, image)  # type: ignore[arg-type]


def test_letters_that_the_font_lacks_are_known_and_warned_of_by_nobody() -> None:
    assert drawable("Größe ½ → é\n")
    assert not drawable("猫")

    def cat(axes: Axes) -> None:
        axes.plot([1, 2], [3, 4], label="猫")

    assert "猫</text>" in single(cat, "svg").decode()
    assert single(cat, "png")


def test_a_longer_legend_makes_a_taller_figure_not_a_smaller_panel() -> None:
    def many(axes: Axes) -> None:
        for number in range(12):
            axes.plot([1, 2], [number, number], label=f"line {number}")

    with (
        Image.open(io.BytesIO(single(draw, "png"))) as short,
        Image.open(io.BytesIO(single(many, "png"))) as tall,
    ):
        assert tall.height > short.height + 100


def test_a_control_has_the_colour_of_its_student() -> None:
    found = shades(["a", "b"], ["a-control", "c-control"])
    assert found["a"] == found["a-control"] == Shade(PALETTE[0])
    assert found["b"] == Shade(PALETTE[1])
    assert found["c-control"] == Shade(INK)


def test_a_name_that_holds_control_itself_keeps_its_controls_colour() -> None:
    found = shades(["my-controller", "x"], ["my-controller-control", "x-control-lr0.1"])
    assert found["my-controller-control"] == found["my-controller"]
    assert found["x-control-lr0.1"].color == INK, "the x of lr0.1 is not drawn"


def test_long_names_are_broken_and_none_is_cut() -> None:
    name = "small_cnn-" + "-".join(f"option{number}-0.{number}" for number in range(9))

    def long(axes: Axes) -> None:
        for number in range(3):
            axes.plot([1, 2], [number, number], label=f"{number}-{name}")

    text = single(long, "svg").decode()
    words = re.findall(r">([^<>\n]+)</text>", text)
    assert max(map(len, words)) <= 56
    assert "".join(words).count(name) == 3
    with (
        Image.open(io.BytesIO(single(draw, "png"))) as short,
        Image.open(io.BytesIO(single(long, "png"))) as tall,
    ):
        assert tall.height > short.height + 100


def test_controls_of_several_students_each_differ() -> None:
    """A sweep of alpha over two students has one control for each, with the colour of none."""
    found = shades(["a-a0.5", "a-a0.9", "b-a0.5", "b-a0.9"], ["a-control", "b-control"])
    first, second = found["a-control"], found["b-control"]
    assert first.color != second.color
    assert first.dashes(control=True) != second.dashes(control=True)
    assert first.mark != second.mark
    assert not {first.color, second.color} & set(PALETTE)


def test_a_control_has_the_dashes_of_no_student() -> None:
    looks = [Shade(INK, turn) for turn in range(4)]
    controls = {look.dashes(control=True) for look in looks}
    assert len(controls) == 4
    assert len({look.dashes(control=False) for look in looks}) == 4
    assert not controls & {look.dashes(control=False) for look in looks}


def test_more_students_than_colours_get_another_mark() -> None:
    names = [f"s{number}" for number in range(len(PALETTE) + 1)]
    found = shades(names)
    assert found["s0"].color == found[names[-1]].color
    assert (found["s0"].turn, found[names[-1]].turn) == (0, 1)
    assert len(set(found.values())) == len(names)


def test_seeds_of_one_student_have_one_shade_and_its_control_the_same_colour() -> None:
    labels = ("a-s0", "a-s1", "b-s0", "b-s1", "b-control-s0", "b-control-s1")
    rows = [student(label, seed=int(label[-1])) for label in labels]
    b = Shade(PALETTE[1])
    assert run_shades(rows) == {"a": Shade(PALETTE[0]), "b": b, "b-control": b}


def test_models_of_a_training_have_colours_and_are_no_controls() -> None:
    assert run_shades([student("a", role="control")]) == {"a": Shade(PALETTE[0])}


def test_dotted_lines_of_one_colour_differ() -> None:
    looks = [Shade(INK, turn) for turn in range(4)]
    dots = {look.dots(control=control) for look in looks for control in (False, True)}
    assert len(dots) == 8
