"""Speeds and their ratios."""

from pathlib import Path

import pytest

from compress.records.throughput import PairThroughput, ThroughputRecord
from tests.fake_run import ENVIRONMENT

PAIR = PairThroughput(
    name="W2",
    teacher="resnet56",
    student="small_cnn",
    steps=12,
    teacher_format="NHWC, bfloat16",
    student_format="NHWC, bfloat16",
    limit_teacher_format="NHWC, bfloat16",
    limit_student_format="NHWC, bfloat16",
    plain=(100.0, 50.0, 100.0),
    uncached=(200.0, 100.0, 220.0),
    cached=(500.0, 300.0, 450.0),
    limit_with_teacher=(210.0, 105.0, 200.0),
    limit_student=(500.0, 300.0, 500.0),
)


def test_ratios_are_taken_round_by_round() -> None:
    """A round in which the machine was slow is slow for both."""
    assert PAIR.ratios("cached", "plain") == (5.0, 6.0, 4.5)
    assert PAIR.ratio("cached", "plain") == 5.0


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    record = ThroughputRecord(
        command="python benchmarks/distill_throughput.py",
        batch_size=128,
        image_size=32,
        threads=2,
        device="cpu",
        pairs=(PAIR,),
        seconds=10.0,
        environment=ENVIRONMENT,
    )
    path = tmp_path / "r.json"
    path.write_text(record.to_json())
    assert ThroughputRecord.read(path) == record


def test_variants_without_the_same_rounds_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="zip"):
        PAIR.model_copy(update={"plain": (1.0,)}).ratios("cached", "plain")
