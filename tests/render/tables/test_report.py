"""What `compress report` prints."""

import io

from rich.console import Console

from compress.records.report import ReportRecord
from compress.render.tables.report import table


def test_it_says_what_came_out_and_where_the_pages_are(two_runs_report: ReportRecord) -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(table(two_runs_report))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "seeds\n" in shown.replace(" ", "")
    assert "KD helps" in shown
    assert "both/report.html" in shown
    assert "both/report.md" in shown
