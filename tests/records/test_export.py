"""The result of an export."""

from compress.records.export import ExportRecord, ExportRow
from tests.fake_run import ENVIRONMENT
from tests.records.test_artifact import fidelity, manifest


def test_problems_are_gathered_with_their_artifact() -> None:
    made = manifest(fidelity())
    rows = (
        ExportRow(folder="e/a", manifest=made, seconds=1.0),
        ExportRow(folder="e/m", manifest=made, seconds=1.0, problems=("int8 left out", "and fp16")),
    )
    record = ExportRecord(source="last", artifacts=rows, environment=ENVIRONMENT)
    assert record.problems == ("m: int8 left out", "m: and fp16")
    assert ExportRecord.model_validate_json(record.to_json()) == record
