"""The record of a list."""

import json

import pytest

from compress.errors import InputError
from compress.records.list import ListRecord, LossEntry, RecipeEntry


def test_entries_come_back_from_json_as_what_they_were() -> None:
    loss = LossEntry(
        name="kd",
        summary="x",
        options={"temperature": 4.0},
        needs_features=False,
        mixed_labels=True,
    )
    recipe = RecipeEntry(name="digits", about={"minutes": 6})
    for what, entry in (("losses", loss), ("recipes", recipe)):
        record = ListRecord.model_validate({"what": what, "entries": (entry,)})
        assert ListRecord.from_data(json.loads(record.to_json()), source="x") == record


def test_the_json_says_which_list_it_is() -> None:
    text = ListRecord(what="runs", place="runs", entries=()).to_json()
    assert json.loads(text) == {"schema": 1, "what": "runs", "place": "runs", "entries": []}


def test_an_unknown_list_is_refused() -> None:
    with pytest.raises(InputError, match="what"):
        ListRecord.from_data({"schema": 1, "what": "x", "entries": []}, source="x")
