"""The result of `compress predict` as a table."""

from rich.console import Group, RenderableType
from rich.text import Text

from compress.records.predict import PredictRecord
from compress.render.numbers import percent
from compress.render.tables.fitting import Row, grid


def table(record: PredictRecord) -> RenderableType:
    """One row per picture and class, best first; then what was skipped."""
    rows: list[Row] = [
        [prediction.image if place == 0 else "", guess.label, percent(guess.probability)]
        for prediction in record.predictions
        for place, guess in enumerate(prediction.guesses)
    ]
    head = Text.assemble((record.label, "bold"), f" {record.precision}")
    skipped = [
        Text(f"skipped {item.image}: {item.reason}", style="yellow") for item in record.unreadable
    ]
    return Group(head, grid(["picture", "class", "%"], rows, left=2), *skipped)
