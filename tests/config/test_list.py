"""Options of `compress list`."""

from typing import get_args

import pytest
from pydantic import ValidationError

from compress.config.list import Kind, ListConfig
from compress.records import list as records


def test_an_unknown_list_is_refused() -> None:
    with pytest.raises(ValidationError, match="models"):
        ListConfig.model_validate({"what": "modles"})


def test_what_can_be_asked_for_is_what_can_be_answered() -> None:
    assert get_args(Kind) == get_args(records.Kind)
