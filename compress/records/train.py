"""What `compress train` reports."""

from typing import ClassVar

from compress.records.distill import StudentRow, SummaryRow
from compress.records.document import Document, Environment


class TrainRecord(Document):
    """The result of training on labels.

    Attributes:
        run: Folder name of the run.
        data: Name of the data.
        train_images: Their number, validation split held out.
        val_images: Their number.
        test_images: Their number.
        epochs: Trained.
        models: One row per seed; `role` is "control", as no teacher took part.
        summary: Over seeds, where there are several.
        seconds: The whole run, all sessions together.
        environment: The machine that finished it.
    """

    newest_schema: ClassVar[int] = 1

    run: str
    data: str
    train_images: int
    val_images: int
    test_images: int
    epochs: int
    models: tuple[StudentRow, ...]
    summary: tuple[SummaryRow, ...] = ()
    seconds: float
    environment: Environment
