"""The record of a report."""

import json

from compress.records.distill import DistillRecord
from compress.records.report import ReportRecord, RunReport
from compress.records.train import TrainRecord
from tests.fake_run import ENVIRONMENT, record, student

ROWS = (student("a"), student("a-control"))
TRAINED = TrainRecord(
    run="alone",
    data="cifar10",
    train_images=45_000,
    val_images=5_000,
    test_images=10_000,
    epochs=20,
    models=ROWS[1:],
    seconds=900.0,
    environment=ENVIRONMENT,
)


def run_of(result: DistillRecord | TrainRecord) -> RunReport:
    return RunReport(
        folder="runs/one",
        result=result,
        class_names=(),
        epochs=(),
        answers=(),
        inputs={},
        choices={},
    )


def test_the_rows_of_a_run_are_its_students_and_controls_or_what_it_trained() -> None:
    assert run_of(record(ROWS)).rows == ROWS
    assert run_of(TRAINED).rows == ROWS[1:]


def test_a_record_of_both_kinds_of_run_can_be_read_again() -> None:
    kept = ReportRecord(folder="out", version="0", runs=(run_of(record(ROWS)), run_of(TRAINED)))
    assert ReportRecord.from_data(json.loads(kept.to_json()), source="kept") == kept
