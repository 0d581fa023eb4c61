"""What `compress soft-labels` and `compress list soft-labels` report."""

from typing import ClassVar

from compress.records.document import Document, Part


class TeacherDescription(Document):
    """What a student's run must know of a teacher whose weights may be elsewhere.

    Attributes:
        name: Model name, or "ensemble of N".
        data: Name of the data it answers for.
        splits_sha256: Of the data and its split into train, validation and test.
        class_names: What its logits mean, in order.
        weights_sha256: Of each member's weights.
        parameters: Trainable numbers; of all members together.
        macs: Multiply-accumulates of one image; of all members together.
        size_bytes: float32 weights; of all members together.
        top1: Test accuracy in float32; a fraction.
        val_top1: Validation accuracy in float32.
        foreign: Whether it came from outside and may have seen the validation images.
        number_format: Of the forward passes over views ("float32", "bfloat16").
        format_agreement: Share of validation images with the float32 top-1.
        format_probability_error: Mean absolute difference of probabilities to float32.
    """

    newest_schema: ClassVar[int] = 1

    name: str
    data: str
    splits_sha256: str
    class_names: tuple[str, ...]
    weights_sha256: tuple[str, ...]
    parameters: int
    macs: int
    size_bytes: int
    top1: float
    val_top1: float
    foreign: bool
    number_format: str
    format_agreement: float
    format_probability_error: float


class SoftLabelSet(Part):
    """The stored answers of one teacher.

    Attributes:
        key: Folder name: digest of teacher weights, architecture, normalisation, size and format.
        teacher: The teacher's name.
        data: Name of the data it answered for.
        top1: The teacher's test accuracy; a fraction.
        number_format: Of its forward passes ("float32", "bfloat16").
        format_agreement: Share of validation images with the float32 top-1.
        format_probability_error: Mean absolute difference of probabilities to float32.
        views: Stored views.
        size_bytes: All stored views; what is kept once per teacher, its description and its answers
            to the validation and test images, is not counted.
    """

    key: str
    teacher: str
    data: str
    top1: float
    number_format: str
    format_agreement: float
    format_probability_error: float
    views: int
    size_bytes: int


class SoftLabelsRecord(Document):
    """The result of filling views, or the content of a soft-label folder.

    Attributes:
        folder: Where they lie.
        filled: Views computed by this command.
        found: Views that were there already.
        seconds: Spent on the teacher's forward passes.
        sets: One per teacher in the folder.
    """

    newest_schema: ClassVar[int] = 1

    folder: str
    filled: int = 0
    found: int = 0
    seconds: float = 0.0
    sets: tuple[SoftLabelSet, ...]
