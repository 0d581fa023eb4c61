"""What `compress report` prints: the runs, and where the pages are."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from compress.records.report import ReportRecord
from compress.render.report_words import headlines

HTML = "report.html"
MARKDOWN = "report.md"


def table(record: ReportRecord) -> RenderableType:
    """A sentence per student, then the files."""
    lines: list[RenderableType] = []
    for run in record.runs:
        lines.append(Text(run.result.run, style="bold"))
        lines += [Text(f"  {line}") for line in headlines(run)]
    folder = Path(record.folder)
    lines += [Text(str(folder / name), style="cyan") for name in (HTML, MARKDOWN)]
    return Group(*lines)
