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
    head = Text(
        f"{record.artifact} on {record.environment.cpu}, {record.provider}: {_verified(record)}"
    )
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


def _verified(record: CheckRecord) -> str:
    """What the content of the files was compared with, in words."""
    if record.verified_files:
        return f"{record.verified_files} files equal their manifest's sha256"
    bare = [row for row in record.rows if not row.sealed]
    if not bare:
        return "no manifest: files were compared with the digests inside them"
    files = ", ".join(dict.fromkeys(row.file for row in bare))
    done = "only the answers were compared" if any(row.images for row in bare) else "only run"
    return f"no manifest, and no digest inside {files}: {done}"


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
