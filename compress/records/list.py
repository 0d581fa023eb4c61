"""What `compress list` shows, one kind of entry per list."""

from typing import Any, ClassVar, Literal

from compress.records.document import Document, Part
from compress.records.soft_labels import SoftLabelSet

Kind = Literal["models", "losses", "data", "recipes", "runs", "soft-labels"]
Options = dict[str, bool | int | float | str]


class ModelEntry(Part):
    """A model that can be trained.

    Attributes:
        name: As in `--model` and `--student`.
        summary: What it is.
        options: Every option with its value for images of 32 pixels.
        parameters: Trainable numbers, 10 classes.
        macs: Multiply-accumulates of one image of 32 pixels.
    """

    name: str
    summary: str
    options: Options
    parameters: int
    macs: int


class LossEntry(Part):
    """A distillation loss.

    Attributes:
        name: As in `--loss`.
        summary: What it compares, and whose it is.
        options: Every option with its default.
        needs_features: Whether the teacher runs beside the student, so that stored soft labels
            are not enough.
        mixed_labels: Whether it goes with mixup and cutmix.
    """

    name: str
    summary: str
    options: Options
    needs_features: bool
    mixed_labels: bool


class DataEntry(Part):
    """Images to train on.

    Attributes:
        name: As in `--data`.
        summary: What they show.
        train_images: Their number, validation images included; null for folders.
        test_images: Their number.
        classes: Their number.
        image_size: Side in pixels, before `--image-size`.
        found: Where they lie on this machine, or null.
    """

    name: str
    summary: str
    train_images: int | None
    test_images: int | None
    classes: int | None
    image_size: int | None
    found: str | None


class RecipeEntry(Part):
    """A recipe that comes with the package.

    Attributes:
        name: As in `--recipe`.
        about: Its header: source, command, expected time and accuracy, origin, target, record.
    """

    name: str
    about: dict[str, Any]


class RunEntry(Part):
    """A run directory.

    Attributes:
        run: Its folder's name.
        folder: Where it lies.
        status: `running` only while a process holds it; `damaged` when its files are unreadable.
        command: What made it.
        data: Name or folder of the data.
        begun: Local time, ISO 8601.
        epochs_done: Averaged over the students to be trained, rounded down; without those known to
            have diverged, and those to come where another version planned the run.
        epochs: Asked for.
        initial_weights: The run or file whose weights its models begin with; None is nobody's.
        best: The student with the best validation top-1, once complete.
        top1: That student's test top-1; a fraction.
        reason: Why it failed or cannot be read.
    """

    run: str
    folder: str
    status: Literal["running", "complete", "failed", "interrupted", "damaged"]
    command: str | None = None
    data: str | None = None
    begun: str
    epochs_done: int = 0
    epochs: int | None = None
    initial_weights: str | None = None
    best: str | None = None
    top1: float | None = None
    reason: str | None = None


class ListRecord(Document):
    """A list of what there is to choose from.

    Attributes:
        what: Which list.
        place: The folder listed, for runs and soft labels.
        entries: Of the kind that `what` says.
    """

    newest_schema: ClassVar[int] = 1

    what: Kind
    place: str | None = None
    entries: (
        tuple[ModelEntry, ...]
        | tuple[LossEntry, ...]
        | tuple[DataEntry, ...]
        | tuple[RecipeEntry, ...]
        | tuple[RunEntry, ...]
        | tuple[SoftLabelSet, ...]
    )
