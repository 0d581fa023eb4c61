"""A run's table: the teacher, and every student beside its control and the teacher."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compress import evaluate
from compress.config.distill import StudentPlan
from compress.records.distill import StudentRow, TeacherRow
from compress.records.soft_labels import TeacherDescription
from compress.training.results import Finished


def teacher_row(
    described: TeacherDescription,
    test: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    foreign: bool,
    seconds: float,
    train_top1: float | None,
) -> TeacherRow:
    """The teacher's line of the table.

    Args:
        described: What is known of it without its weights.
        test: Its test logits, (images, classes).
        labels: (images,)
        foreign: Whether it came from outside and may have seen the validation images.
        seconds: Spent on its forward passes.
        train_top1: On its training images, where its own run says it.
    """
    return TeacherRow(
        name=described.name,
        top1=described.top1,
        val_top1=described.val_top1,
        train_top1=train_top1,
        ece=float(evaluate.ece(test, labels)),
        parameters=described.parameters,
        macs=described.macs,
        foreign=foreign,
        weights_sha256=described.weights_sha256,
        number_format=described.number_format,
        format_agreement=described.format_agreement,
        format_probability_error=described.format_probability_error,
        seconds=seconds,
    )


def compare(
    plans: Sequence[StudentPlan],
    finished: Sequence[Finished],
    teacher: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> tuple[StudentRow, ...]:
    """Set each student beside its control and the teacher, over the same test images.

    Args:
        plans: Which control belongs to whom.
        finished: Those of them that were trained to their end.
        teacher: Its test logits, (images, classes).
        labels: (images,)
    """
    by_label = {one.row.label: one for one in finished}
    control_of = {plan.label: plan.control for plan in plans}
    rows = []
    for one in finished:
        row = one.row.model_copy(update={"agreement": float(evaluate.agreement(one.test, teacher))})
        control = by_label.get(control_of[row.label] or "")
        if control is not None:
            low, high = evaluate.paired_interval(
                one.test.argmax(axis=1) == labels, control.test.argmax(axis=1) == labels
            )
            row = row.model_copy(
                update={
                    "kd_gain": row.top1 - control.row.top1,
                    "kd_gain_low": low,
                    "kd_gain_high": high,
                }
            )
        rows.append(row)
    return tuple(rows)
