"""What a report says of one model's answers: calibration, confusion, change from the teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compress import evaluate
from compress.records.report import Agreement, Answers, ClassRow, ReliabilityBin


@dataclass(frozen=True)
class Predictions:
    """A model's answers on the test split.

    Attributes:
        logits: float32 (images, classes).
        labels: int64 (images,).
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Shape (images,): whether the largest logit is the label's."""
        answers: NDArray[np.bool_] = self.logits.argmax(axis=1) == self.labels
        return answers


def numbers(predictions: Predictions) -> tuple[str, ...]:
    """Names for classes nobody named: 0, 1, 2 …"""
    return tuple(str(number) for number in range(predictions.logits.shape[1]))


def describe(
    label: str, role: Literal["teacher", "student", "control"], own: Predictions
) -> Answers:
    """Calibration and confusion of one model.

    Args:
        label: The model's row.
        role: What it is.
        own: Its answers.
    """
    bins = evaluate.reliability(own.logits, own.labels)
    filled = zip(bins.counts, bins.confidence, bins.accuracy, strict=True)
    classes = own.logits.shape[1]
    counts = evaluate.confusion(own.logits, own.labels, classes)
    return Answers(
        label=label,
        role=role,
        ece=bins.ece,
        reliability=tuple(
            ReliabilityBin(count=int(count), confidence=float(sure), top1=float(right))
            for count, sure, right in filled
            if count
        ),
        confusion=tuple(tuple(map(int, row)) for row in counts),
    )


def by_class(
    own: Predictions, teacher: Predictions | None, names: Sequence[str]
) -> tuple[ClassRow, ...]:
    """Accuracy by class, and what was lost and won from the teacher where there is one.

    Args:
        own: The student's answers.
        teacher: The teacher's on the same images.
        names: Of the classes, in the order of the logits.
    """
    rows = []
    for number, name in enumerate(names):
        members = own.labels == number
        right = own.right[members]
        row = ClassRow(name=name, images=int(members.sum()), top1=_share(right))
        if teacher is not None:
            taught = teacher.right[members]
            changes = {
                "teacher_top1": _share(taught),
                "lost": int((taught & ~right).sum()),
                "won": int((~taught & right).sum()),
            }
            row = row.model_copy(update=changes)
        rows.append(row)
    return tuple(rows)


def who_is_right(own: Predictions, teacher: Predictions) -> Agreement:
    """Test images by who gets them right."""
    return Agreement(
        both=int((own.right & teacher.right).sum()),
        teacher_only=int((~own.right & teacher.right).sum()),
        student_only=int((own.right & ~teacher.right).sum()),
        neither=int((~own.right & ~teacher.right).sum()),
    )


def _share(right: NDArray[np.bool_]) -> float:
    return float(right.mean()) if right.size else 0.0
