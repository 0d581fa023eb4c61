"""The result of `compress check` as a table."""

from rich.console import Group, RenderableType
from rich.text import Text

from compress.records.check import CheckRecord, CheckRow
from compress.render.numbers import ABSENT, percent
from compress.render.tables.fitting import FirstThatFits, Row, grid

STYLES = {"pass": "green", "fail": "bold red", "opened": "yellow"}
HEADS = ("", "file", "verdict", "images", "differ", "other\ntop-1", "max\n|Δ|", "in\nsteps")


def table(record: CheckRecord) -> RenderableType:
    """One row per model file, then what had to hold."""
    verified = (
        f"{record.verified_files} files equal their manifest's sha256"
        if record.verified_files
        else "no manifest: files were compared with the digests inside them"
    )
    head = Text(f"{record.artifact} on {record.environment.cpu}, {record.provider}: {verified}")
    wide = grid(
        [*HEADS, "golden\ntop-1 %", "allowed"],
        [[*_cells(row), percent(row.top1), row.allowed or ABSENT] for row in record.rows],
        left=3,
    )
    narrow = grid(HEADS, [_cells(row) for row in record.rows], left=3)
    causes = [
        Text(f"{row.label} {row.file}: {row.cause}", style="bold red")
        for row in record.failed
        if row.cause
    ]
    rules = dict(reversed([(row.precision, row.allowed) for row in record.rows if row.allowed]))
    allowed = "; ".join(f"{precision} {rule}" for precision, rule in reversed(rules.items()))
    rest = [Text(f"allowed: {allowed}", style="dim")] if allowed else []
    return Group(head, FirstThatFits(wide, Group(narrow, *rest)), *causes)


def _cells(row: CheckRow) -> Row:
    compared = row.images > 0
    return [
        row.label,
        row.file,
        Text(row.verdict, style=STYLES[row.verdict]),
        str(row.images),
        str(row.different) if compared else ABSENT,
        str(row.top1_different) if compared else ABSENT,
        ABSENT if row.max_difference is None else f"{row.max_difference:.1e}",
        ABSENT if row.max_steps is None else f"{row.max_steps:.1f}",
    ]
