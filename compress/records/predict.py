"""What `compress predict` reports."""

from typing import ClassVar

from compress.records.document import Document, Environment, Part
from compress.records.model_card import Precision


class Guess(Part):
    """One class for one picture.

    Attributes:
        label: Name of the class; its number where the model does not name them.
        probability: 0 to 1.
    """

    label: str
    probability: float


class Prediction(Part):
    """The best classes of one picture.

    Attributes:
        image: The file.
        guesses: Best first.
    """

    image: str
    guesses: tuple[Guess, ...]


class Unreadable(Part):
    """A picture that was skipped.

    Attributes:
        image: The file.
        reason: Why.
    """

    image: str
    reason: str


class PredictRecord(Document):
    """The result of classifying pictures.

    Attributes:
        artifact: The model file.
        label: The model's name.
        precision: Of the form that was used.
        predictions: In the order of the pictures.
        unreadable: Pictures that were skipped.
        environment: The machine.
    """

    newest_schema: ClassVar[int] = 1

    artifact: str
    label: str
    precision: Precision
    predictions: tuple[Prediction, ...]
    unreadable: tuple[Unreadable, ...] = ()
    environment: Environment
