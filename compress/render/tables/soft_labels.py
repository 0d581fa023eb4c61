"""Stored soft labels as a table, for `compress soft-labels` and `compress list soft-labels`."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from compress.records.soft_labels import SoftLabelSet, SoftLabelsRecord
from compress.render.numbers import duration, percent, size
from compress.render.tables.fitting import FirstThatFits, Row, grid


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

    heads = ["teacher", "data", "top-1\n%", "format", "agrees\nwith fp32 %", "mean\n|Δp|"]
    wide = [
        [one.teacher, one.data, *_figures(one), str(one.views), size(one.size_bytes), one.key]
        for one in sets
    ]
    narrow: list[Row] = [
        [
            Text.assemble(one.teacher, "\n", one.data, ("\n" + one.key, "dim")),
            *_figures(one),
            str(one.views),
            size(one.size_bytes),
        ]
        for one in sets
    ]
    return FirstThatFits(
        grid([*heads, "views", "size", "key"], wide, left=2),
        grid(["teacher, data, key", *heads[2:], "views", "size"], narrow),
    )


def _figures(one: SoftLabelSet) -> tuple[str, str, str, str]:
    """Accuracy, and what the number format of the forward passes cost."""
    return (
        percent(one.top1),
        one.number_format,
        percent(one.format_agreement),
        f"{one.format_probability_error:.4f}",
    )
