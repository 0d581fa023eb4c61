"""Options that several commands share."""

import pytest
import typer

from compress.cli.options import asked, comma_list, pairs


def test_only_what_the_user_gave_reaches_the_configuration() -> None:
    given = {"epochs": 3, "alpha": 0.0, "seed": 0, "data": None, "student": [], "restart": False}
    assert asked(given) == {"epochs": 3, "alpha": 0.0, "seed": 0}


def test_a_list_is_split_at_commas() -> None:
    assert comma_list("0, 1,2", "--seeds") == ["0", "1", "2"]
    assert comma_list("kd; dkd:beta=8,alpha=1", "--sweep", separator=";") == [
        "kd",
        "dkd:beta=8,alpha=1",
    ]
    assert comma_list(None, "--seeds") is None


def test_an_empty_entry_is_a_usage_error() -> None:
    with pytest.raises(typer.BadParameter, match="--seeds"):
        comma_list("0,,2", "--seeds")


def test_pairs_keep_everything_after_the_first_equals_sign() -> None:
    assert pairs(["loss=kd:temperature=2"], "--sweep") == {"loss": "kd:temperature=2"}
    assert pairs([], "--sweep") is None


@pytest.mark.parametrize("items", [["alpha"], ["=1"], ["alpha="], ["alpha=1", "alpha=2"]])
def test_malformed_pairs_are_usage_errors(items: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        pairs(items, "--sweep")
