"""Options of `compress predict`."""

from pathlib import Path

import pytest

from compress.config.predict import PredictConfig
from compress.config.recipes import build
from compress.errors import ConfigError


def test_the_best_form_and_five_classes_are_the_default() -> None:
    config = build(PredictConfig, {"artifact": "last", "images": [Path("a.png")]})
    assert (config.precision, config.top_k, config.student) == (None, 5, None)
    assert config.images == (Path("a.png"),)


def test_something_must_be_named() -> None:
    with pytest.raises(ConfigError, match="at least one picture"):
        build(PredictConfig, {"artifact": "last", "images": []})
    with pytest.raises(ConfigError, match="top-k 0"):
        build(PredictConfig, {"artifact": "last", "images": [Path("a")], "top_k": 0})
