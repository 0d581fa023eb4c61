import pytest
from pydantic import ValidationError

from compress.records.gate import Check, GateRecord

CHECK = {"name": "min-top1", "row": "a fp32", "outcome": "pass", "limit": 0.9, "unit": "fraction"}


def test_a_check_has_one_of_three_outcomes() -> None:
    assert Check.model_validate({**CHECK, "reason": "fine"}).value is None
    with pytest.raises(ValidationError):
        Check.model_validate({**CHECK, "reason": "fine", "outcome": "skipped"})


def test_a_gate_ends_with_0_1_or_6() -> None:
    allowed = GateRecord.model_json_schema()["properties"]["exit_code"]["enum"]
    assert allowed == [0, 1, 6]
