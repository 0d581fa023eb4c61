"""The result of `compress train` as a table."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from compress.records.train import TrainRecord
from compress.render.numbers import amount, duration, percent, percent_range
from compress.render.tables.distill import (
    begun,
    images_and_epochs,
    kept_epoch,
    left_out,
    summary_table,
)
from compress.render.tables.fitting import FirstThatFits, broken, grid

ACCURACY = ("test\ntop-1", "test\nlast", "val\ntop-1", "train\ntop-1")
COST = ("kept\nepoch", "ECE\n%", "para-\nmeters", "\nMACs", "\ntime")


def table(record: TrainRecord) -> RenderableType:
    """One row per seed, and means over seeds where there are several."""
    head = Text.assemble(
        (record.data, "bold"), f": {images_and_epochs(record)}; {duration(record.seconds)}"
    )
    summary = [summary_table(record.summary)] if record.summary else []
    models = FirstThatFits(
        _models(record, "  ", ACCURACY + COST),
        _models(record, "\n", ACCURACY + COST),
        Group(_models(record, "\n", ACCURACY), _models(record, "  ", COST)),
    )
    return Group(head, *summary, models, *left_out(record), Text(notes(record), style="dim"))


def notes(record: TrainRecord) -> str:
    """What the numbers are."""
    lines = [
        f"Top-1 in per cent of the test images, {kept_epoch(record.models)} "
        "Ranges are 95% Wilson intervals."
    ]
    return "\n".join([*lines, *begun(record)])


def _models(record: TrainRecord, joint: str, heads: tuple[str, ...]) -> Table:
    rows = []
    for row in record.models:
        cells = {
            ACCURACY[0]: joint.join(
                [percent(row.top1), percent_range(row.top1_low, row.top1_high)]
            ),
            ACCURACY[1]: percent(row.last_top1),
            ACCURACY[2]: percent(row.val_top1),
            ACCURACY[3]: percent(row.train_top1),
            COST[0]: str(row.selected_epoch),
            COST[1]: percent(row.ece),
            COST[2]: amount(row.parameters),
            COST[3]: amount(row.macs),
            COST[4]: duration(row.seconds),
        }
        label = broken(row.label) if joint == "\n" else row.label
        rows.append([label, *(cells[head] for head in heads)])
    return grid(["", *heads], rows)
