"""Stored soft labels as a table, for `compress soft-labels` and `compress list soft-labels`."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from compress.records.soft_labels import SoftLabelSet, SoftLabelsRecord
from compress.render.numbers import duration, percent, size
from compress.render.tables.fitting import FirstThatFits, grid


def table(record: SoftLabelsRecord) -> RenderableType:
    """What was filled, and everything the folder holds."""
    views = "view" if record.filled == 1 else "views"
    head = Text(
        f"{record.filled} {views} filled in {duration(record.seconds)}, "
        f"{record.found} found, in {record.folder}"
    )
    return Group(head, sets_table(record.sets))


def sets_table(sets: Sequence[SoftLabelSet]) -> RenderableType:
    """One row per teacher."""
    if not sets:
        return Text("no soft labels stored")

    def layout(short: bool) -> Table:
        heads = ["teacher", "data", "top-1\n%", "format", "agrees\nwith fp32 %", "mean\n|Δp|"]
        rows = [
            [
                one.teacher,
                one.data,
                percent(one.top1),
                one.number_format,
                percent(one.format_agreement),
                f"{one.format_probability_error:.4f}",
                str(one.views),
                size(one.size_bytes),
                f"{one.key[:8]}…" if short and len(one.key) > 9 else one.key,
            ]
            for one in sets
        ]
        return grid([*heads, "views", "size", "key"], rows, left=2)

    return FirstThatFits(layout(short=False), layout(short=True))
