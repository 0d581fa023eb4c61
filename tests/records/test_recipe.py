"""The record of a recipe that was run."""

from pathlib import Path

import pytest

from compress.errors import InputError
from compress.records.recipe import RecipeRecord
from tests.fake_run import record, student


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = RecipeRecord(
        name="cifar10-small-cnn-40-epochs",
        recipe="cifar10-small-cnn",
        changes="--epochs 40",
        commands=("compress distill --recipe cifar10-small-cnn --epochs 40",),
        teacher=None,
        result=record([student("small_cnn")]),
    )
    path = tmp_path / "one.json"
    path.write_text(written.to_json())
    assert RecipeRecord.read(path) == written


def test_another_kind_of_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(record([student("small_cnn")]).to_json())
    with pytest.raises(InputError, match=r"one\.json is no RecipeRecord"):
        RecipeRecord.read(path)
