"""Names that runs, stored answers and trials keep: they may never change."""

import hashlib
from pathlib import Path

import pytest

from compress.digests import digest


def test_it_is_the_sha256_of_the_sorted_json() -> None:
    text = '{"a": null, "b": [1, 0.1, "\\u00e4"]}'
    assert digest({"b": [1, 0.1, "ä"], "a": None}) == hashlib.sha256(text.encode()).hexdigest()


def test_nested_keys_have_no_order_but_lists_have() -> None:
    assert digest({"x": {"a": 1, "b": 2}}) == digest({"x": {"b": 2, "a": 1}})
    assert digest({"x": [1, 2]}) != digest({"x": [2, 1]})


def test_what_has_no_form_in_json_is_refused() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        digest({"place": Path("here")})
