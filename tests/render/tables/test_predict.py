"""The table of `compress predict`."""

import io

from rich.console import Console

from compress.render.tables.predict import table
from tests.records.test_predict import record


def test_each_picture_shows_its_classes_in_per_cent() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(table(record()))
    assert isinstance(console.file, io.StringIO)
    lines = [line.split() for line in console.file.getvalue().splitlines() if line.strip()]
    assert ["a", "[b].png", "cat", "75.00"] in lines
    assert ["dog", "20.00"] in lines
    assert ["skipped", "c.png:", "cut", "short"] in lines
