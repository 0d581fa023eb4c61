"""What a run's figures are judged by."""

from typing import Any

import pytest

from compress.records.footprint import FootprintRecord
from tests.fake_run import ENVIRONMENT

MIB = 2**20
FIGURES: dict[str, Any] = {
    "command": "python benchmarks/run_footprint.py",
    "data": "cifar10",
    "teacher": "resnet56",
    "student": "small_cnn",
    "learners": 2,
    "batch_size": 128,
    "threads": 2,
    "format": "NHWC, float32",
    "images_bytes": 180 * MIB,
    "weights_bytes": 5 * MIB,
    "activations_bytes": 65 * MIB,
    "imports_bytes": 700 * MIB,
    "begun_bytes": 900 * MIB,
    "trained_bytes": 1000 * MIB,
    "peak_bytes": 1025 * MIB,
    "first_step_seconds": 5.0,
    "imports_seconds": 3.0,
    "starts": 5,
    "disturbed": False,
    "environment": ENVIRONMENT,
}


def test_memory_is_what_lies_above_the_imports_by_what_is_needed() -> None:
    record = FootprintRecord(**FIGURES)
    assert record.needed_bytes == 250 * MIB
    assert record.memory_ratio == 1.3
    assert record.met


@pytest.mark.parametrize(
    "changed", [{"peak_bytes": 1026 * MIB}, {"first_step_seconds": 5.01}], ids=["memory", "time"]
)
def test_both_targets_must_be_met(changed: dict[str, Any]) -> None:
    assert not FootprintRecord(**{**FIGURES, **changed}).met


def test_a_record_from_before_starts_were_counted_has_one() -> None:
    data = FootprintRecord(**FIGURES).model_dump(mode="json", by_alias=True)
    del data["starts"]
    assert FootprintRecord.from_data(data, source="here").starts == 1


def test_a_record_can_be_read_again() -> None:
    record = FootprintRecord(**FIGURES)
    data = record.model_dump(mode="json", by_alias=True)
    assert FootprintRecord.from_data(data, source="here") == record
