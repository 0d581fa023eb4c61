"""A run's table by hand: who is right where, beside whom."""

import numpy as np
import pytest

from compress.config.distill import DistillConfig, plan_students
from compress.config.recipes import build
from compress.stages.distill_rows import compare, teacher_row
from compress.training.results import Finished
from tests.fake_run import described, student

LABELS = np.array([0, 1, 1, 0, 1])
TEACHER = np.array([0, 1, 1, 0, 0])
STUDENT = np.array([0, 1, 0, 0, 1])
CONTROL = np.array([0, 0, 0, 1, 1])


def logits(answers: np.ndarray) -> np.ndarray:
    """Float32 logits, (images, 2), of a model that is sure of these classes."""
    return np.where(answers[:, None] == np.arange(2), 50, -50).astype(np.float32)


def finished(label: str, answers: np.ndarray) -> Finished:
    row = student(label, top1=float((answers == LABELS).mean()), agreement=None, kd_gain=None)
    return Finished(row, np.zeros((0, 2), np.float32), logits(answers))


def test_a_student_is_set_beside_its_control_and_the_teacher() -> None:
    plans = plan_students(build(DistillConfig, {"student": ("small_cnn",)}))
    both = [finished(plan.label, STUDENT if plan.role == "student" else CONTROL) for plan in plans]
    taught, control = compare(plans, both, logits(TEACHER), LABELS)
    assert (taught.role, taught.agreement, control.agreement) == ("student", 3 / 5, 1 / 5)
    assert taught.kd_gain == pytest.approx(4 / 5 - 2 / 5)
    figures = taught.model_dump()
    assert figures["kd_gain_low"] < figures["kd_gain"] < figures["kd_gain_high"]
    assert (control.kd_gain, control.kd_gain_low, control.kd_gain_high) == (None, None, None)


def test_a_student_whose_control_diverged_has_no_gain() -> None:
    plans = plan_students(build(DistillConfig, {"student": ("small_cnn",)}))
    (row,) = compare(plans, [finished(plans[0].label, STUDENT)], logits(TEACHER), LABELS)
    assert (row.agreement, row.kd_gain) == (3 / 5, None)


def test_the_teachers_row_has_what_was_described_and_how_sure_it_was() -> None:
    known = described(
        name="resnet56",
        parameters=855_770,
        macs=126_000_000,
        top1=0.8,
        val_top1=0.7,
        number_format="bfloat16",
        format_agreement=0.998,
        format_probability_error=0.002,
        weights_sha256=("8" * 64,),
    )
    row = teacher_row(known, logits(TEACHER), LABELS, foreign=True, seconds=2.0, train_top1=None)
    assert row.ece == pytest.approx(1 / 5)  # sure of five answers, four of them right
    assert row.weights_sha256 == ("8" * 64,)
    assert (row.name, row.top1, row.val_top1, row.train_top1) == ("resnet56", 0.8, 0.7, None)
    assert (row.parameters, row.macs, row.foreign, row.seconds) == (
        855_770,
        126_000_000,
        True,
        2.0,
    )
    assert (row.number_format, row.format_agreement, row.format_probability_error) == (
        "bfloat16",
        0.998,
        0.002,
    )
