"""What every training reports."""

import json

from compress.records.distill import DistillRecord
from compress.records.training import DivergedRow
from tests.fake_run import record, student

GONE = DivergedRow(
    label="a-s1",
    model="small_cnn",
    seed=1,
    role="student",
    settings={"learning_rate": 9.0},
    epoch=2,
    reason="the loss is not finite at learning rate 9",
)


def test_a_diverged_model_is_told_of_in_one_line() -> None:
    assert str(GONE) == "a-s1 diverged in epoch 2: the loss is not finite at learning rate 9"


def test_it_survives_being_written_and_is_empty_in_older_records() -> None:
    text = record([student("a")], diverged=(GONE,)).to_json()
    assert DistillRecord.model_validate_json(text).diverged == (GONE,)
    document = json.loads(text)
    del document["diverged"]
    assert DistillRecord.model_validate(document).diverged == ()
