"""Options of `compress report`."""

import pytest

from compress.config import recipes
from compress.config.report import ReportConfig
from compress.errors import ConfigError


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="--runs"):
        recipes.build(ReportConfig, {"runs": ()})


def test_several_runs_can_be_named() -> None:
    config = recipes.build(ReportConfig, {"runs": ("a", "last")})
    assert config.runs == ("a", "last")
    assert config.out is None
