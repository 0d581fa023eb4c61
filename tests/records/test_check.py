"""The result of a check."""

from compress.records.check import CheckRecord, CheckRow
from tests.fake_run import ENVIRONMENT


def row(verdict: str, **fields: object) -> CheckRow:
    base = {"label": "m", "file": "model.onnx", "precision": "fp32", "images": 64}
    return CheckRow.model_validate({**base, "verdict": verdict, **fields})


def record(*rows: CheckRow) -> CheckRecord:
    return CheckRecord(
        artifact="e", provider="CPU", verified_files=2, rows=rows, environment=ENVIRONMENT
    )


def test_what_was_only_opened_has_not_failed() -> None:
    made = record(row("pass"), row("opened"), row("fail", cause="x"))
    assert [item.verdict for item in made.failed] == ["fail"]
    assert CheckRecord.model_validate_json(made.to_json()) == made
