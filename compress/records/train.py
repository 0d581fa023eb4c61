"""What `compress train` reports."""

from typing import ClassVar

from compress.records.distill import StudentRow, SummaryRow
from compress.records.training import TrainingRecord


class TrainRecord(TrainingRecord):
    """The result of training on labels.

    Attributes:
        models: One row per seed; `role` is "control", as no teacher took part.
        summary: Over seeds, where there are several.
    """

    newest_schema: ClassVar[int] = 1

    models: tuple[StudentRow, ...]
    summary: tuple[SummaryRow, ...] = ()
