"""What every training reports, with a teacher or without."""

from compress.records.document import Document, Environment


class TrainingRecord(Document):
    """The part of a record that `compress train` and `compress distill` have alike.

    Attributes:
        run: Folder name of the run.
        data: Name of the data.
        train_images: Their number, validation split held out.
        val_images: Their number.
        test_images: Their number.
        epochs: Trained.
        seconds: The whole run, all sessions together.
        environment: The machine that finished it.
    """

    run: str
    data: str
    train_images: int
    val_images: int
    test_images: int
    epochs: int
    seconds: float
    environment: Environment
