"""The table of stored soft labels."""

import io

import pytest
from rich.console import Console

from compress.records.soft_labels import SoftLabelSet, SoftLabelsRecord
from compress.render.tables.soft_labels import sets_table, table

SET = SoftLabelSet(
    key="resnet56-0123456789abcdef",
    teacher="resnet56 [x]",
    data="cifar10",
    top1=0.9339,
    number_format="bfloat16",
    format_agreement=0.9971,
    format_probability_error=0.00213,
    views=10,
    size_bytes=9 * 2**20,
)


def render(renderable: object, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_it_says_what_was_filled_and_where() -> None:
    record = SoftLabelsRecord(folder="/cache", filled=1, found=9, seconds=63.0, sets=(SET,))
    shown = render(table(record), 160)
    assert "1 view filled in 1.1 min, 9 found, in /cache" in shown
    assert "10 views filled" in render(table(record.model_copy(update={"filled": 10})), 160)


@pytest.mark.parametrize("width", [80, 160])
def test_each_teacher_has_a_row(width: int) -> None:
    shown = render(sets_table([SET]), width)
    assert max(len(line) for line in shown.splitlines()) <= width
    for text in ("[x]", "cifar10", "93.39", "99.71", "0.0021", "9.0 MiB", "resnet56"):
        assert text in shown


def test_the_key_has_its_own_column_where_there_is_room() -> None:
    assert SET.key in render(sets_table([SET]), 160)
    assert "teacher, data, key" in render(sets_table([SET]), 80)


def test_an_empty_folder_is_said_to_be_empty() -> None:
    assert render(sets_table([]), 80) == "no soft labels stored\n"
