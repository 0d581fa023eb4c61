"""Speeds and their ratios."""

from pathlib import Path

import pytest

from compress.records.throughput import ThroughputRecord
from tests.fake_throughput import PAIR, throughput


def test_ratios_are_taken_round_by_round() -> None:
    """A round in which the machine was slow is slow for both."""
    assert PAIR.ratios("cached", "plain") == (5.0, 6.0, 4.5)
    assert PAIR.ratio("cached", "plain") == 5.0


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    record = throughput(PAIR)
    path = tmp_path / "r.json"
    path.write_text(record.to_json())
    assert ThroughputRecord.read(path) == record


def test_variants_without_the_same_rounds_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="zip"):
        PAIR.model_copy(update={"plain": (1.0,)}).ratios("cached", "plain")
