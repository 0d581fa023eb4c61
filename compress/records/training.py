"""What every training reports, with a teacher or without."""

from typing import Any, Literal

from compress.records.document import Document, Environment, Part


class ModelRow(Part):
    """A model that a run trained, or tried to.

    Attributes:
        label: Names it, and its files.
        model: Name and options.
        seed: Initialisation and dropout.
        role: A control learned from the labels only.
        settings: What was swept.
    """

    label: str
    model: str
    seed: int
    role: Literal["student", "control"]
    settings: dict[str, Any] = {}


class DivergedRow(ModelRow):
    """A model that was left out of its run because its training went out of bounds.

    Attributes:
        epoch: In which it was noticed, from 1.
        reason: What was not finite, and at which learning rate.
    """

    epoch: int
    reason: str

    def __str__(self) -> str:
        """One line about it."""
        return f"{self.label} diverged in epoch {self.epoch}: {self.reason}"


class TrainingRecord(Document):
    """The part of a record that `compress train` and `compress distill` have alike.

    Attributes:
        run: Folder name of the run.
        data: Name of the data.
        train_images: Their number, validation split held out.
        val_images: Their number.
        test_images: Their number.
        epochs: Trained.
        initial_weights: Whose weights the models began with, as asked; None is nobody's.
        initial_foreign: Whether these may know the validation images.
        initial_shared: Whether a student and its control began with the same.
        seconds: The whole run, all sessions together.
        diverged: Models that are missing among the rows; older records have none.
        environment: The machine that finished it.
    """

    run: str
    data: str
    train_images: int
    val_images: int
    test_images: int
    epochs: int
    initial_weights: str | None = None
    initial_foreign: bool = False
    initial_shared: bool = False
    seconds: float
    diverged: tuple[DivergedRow, ...] = ()
    environment: Environment
