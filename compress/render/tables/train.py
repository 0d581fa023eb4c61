"""The result of `compress train` as a table."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from compress.records.train import TrainRecord
from compress.render.numbers import amount, duration, percent, percent_range
from compress.render.tables.distill import summary_table
from compress.render.tables.fitting import FirstThatFits, grid

NOTES = (
    "Top-1 in per cent of the test images, at the epoch with the best validation top-1; "
    "last: at the last epoch. Ranges are 95% Wilson intervals."
)


def table(record: TrainRecord) -> RenderableType:
    """One row per seed, and means over seeds where there are several."""
    head = Text.assemble(
        (record.data, "bold"),
        f": {record.train_images:,} training, {record.val_images:,} validation, "
        f"{record.test_images:,} test images; {record.epochs} epochs; {duration(record.seconds)}",
    )
    summary = [summary_table(record.summary)] if record.summary else []
    models = FirstThatFits(_models(record, "  "), _models(record, "\n"))
    return Group(head, *summary, models, Text(NOTES, style="dim"))


def _models(record: TrainRecord, joint: str) -> Table:
    heads = ("", "test\ntop-1", "test\nlast", "val\ntop-1", "train\ntop-1", "best\nepoch")
    rows: list[Sequence[str]] = [
        [
            row.label,
            joint.join([percent(row.top1), percent_range(row.top1_low, row.top1_high)]),
            percent(row.last_top1),
            percent(row.val_top1),
            percent(row.train_top1),
            str(row.selected_epoch),
            percent(row.ece),
            amount(row.parameters),
            amount(row.macs),
            duration(row.seconds),
        ]
        for row in record.models
    ]
    return grid([*heads, "ECE\n%", "para-\nmeters", "\nMACs", "\ntime"], rows)
