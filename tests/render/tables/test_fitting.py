"""Tables that choose a layout by the width there is."""

import io

from rich.console import Console, Group
from rich.text import Text

from compress.render.tables.fitting import FirstThatFits, broken, grid


def render(renderable: object, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_widest_layout_that_fits_is_shown() -> None:
    layouts = FirstThatFits(Text("x" * 60), Text("y" * 40), Text("z" * 20))
    assert "x" in render(layouts, 60)
    assert "y" in render(layouts, 59)
    assert "z" in render(layouts, 39)


def test_the_last_layout_is_shown_where_none_fits() -> None:
    assert "z" in render(FirstThatFits(Text("y" * 40), Text("z" * 20)), 10)


def test_a_group_needs_the_width_of_its_widest_part() -> None:
    layouts = FirstThatFits(Group(Text("a"), Text("b" * 30)), Text("small"))
    assert "b" in render(layouts, 30)
    assert "small" in render(layouts, 29)


def test_cells_are_no_markup() -> None:
    shown = render(grid(["[bold]name", "n"], [["[red]x[/red]", "1"], ["[/]", "2"]]), 60)
    for text in ("[bold]name", "[red]x[/red]", "[/]"):
        assert text in shown


def test_long_names_are_folded_and_numbers_never_cut() -> None:
    shown = render(grid(["name", "value"], [["n" * 50, "12345678"]]), 40)
    assert shown.count("n") == 50 + 1
    assert "12345678" in shown


def test_names_break_after_the_hyphen_that_leaves_both_parts_short() -> None:
    assert broken("small_cnn") == "small_cnn"
    assert broken("mobilenet_v2-attention-s1") == "mobilenet_v2-\nattention-s1"
    assert broken("averyveryverylongname") == "averyveryverylongname"
