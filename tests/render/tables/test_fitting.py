"""Tables that choose a layout by the width there is."""

import io

import pytest
from rich.console import Console, Group
from rich.text import Text

from compress.render.tables.fitting import FirstThatFits, Stacked, broken, folded, grid


def render(renderable: object, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


ROWS = {"automobile": "1", "cat": "2"}


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


@pytest.mark.parametrize("width", range(12, 60))
def test_a_squeezed_table_has_whole_numbers_or_says_that_some_are_missing(width: int) -> None:
    figures = ["93.39", "1000", "7.25", "86.10"]
    shown = render(grid(["Class", *("head",) * 4], [["automobile", *figures]]), width)
    assert max(len(line) for line in shown.splitlines()) <= width
    line = next(line.rstrip() for line in shown.splitlines() if "auto" in line)
    name, *cells = line.split()
    assert name.startswith("automobi")
    whole = cells[:-1] if line.endswith("…") else cells
    assert whole == figures[: len(whole)]
    assert whole == figures or line.endswith("…")


def test_a_table_in_parts_has_every_number_whole_and_every_row_named() -> None:
    heads = ["Class", *(f"model{number}" for number in range(9))]
    rows = [[name, *(f"{number}{end}.25" for number in range(9))] for name, end in ROWS.items()]
    shown = render(Stacked(heads, rows, title="By class"), 40)
    assert max(len(line) for line in shown.splitlines()) <= 40
    assert shown.count("By class") == 1
    parts = shown.count("Class")
    assert parts > 1
    for name, end in ROWS.items():
        lines = [line.split() for line in shown.splitlines() if line.split()[:1] == [name]]
        assert len(lines) == parts
        assert [cell for line in lines for cell in line[1:]] == [f"{n}{end}.25" for n in range(9)]


def test_a_table_is_in_one_part_where_it_fits() -> None:
    shown = render(Stacked(["name", "a", "b"], [["x", "1", "2"]]), 40)
    assert [line.split() for line in shown.splitlines()][1] == ["name", "a", "b"]
    assert shown.count("name") == 1


def test_a_long_name_leaves_room_for_the_numbers_of_each_part() -> None:
    shown = render(Stacked(["name", "a", "b"], [["n" * 50, "12345678", "87654321"]]), 40)
    assert shown.count("n") == 50 + 1
    assert "12345678" in shown
    assert "87654321" in shown


def test_names_in_heads_are_folded_after_a_sign_or_hard() -> None:
    assert folded("small_cnn-kd") == "small_cnn-kd"
    assert folded("pi@kitchen.example.org") == "pi@kitchen.\nexample.org"
    assert folded("mobilenet_v2-attention-s1") == "mobilenet_\nv2-\nattention-s1"
    assert folded("abcdefghijklmnopqrstuvwxyz") == "abcdefghijkl\nmnopqrstuvwx\nyz"


def test_names_break_after_the_hyphen_that_leaves_both_parts_short() -> None:
    assert broken("small_cnn") == "small_cnn"
    assert broken("mobilenet_v2-attention-s1") == "mobilenet_v2-\nattention-s1"
    assert broken("averyveryverylongname") == "averyveryverylongname"
