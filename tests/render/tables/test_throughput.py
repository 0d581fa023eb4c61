"""The table of a throughput record, and the rows that pages share with it."""

import io

import pytest
from rich.console import Console

from compress.records.throughput import PairThroughput
from compress.render.tables.throughput import COMPANY, ratios, speeds, table
from tests.fake_throughput import PAIR, throughput


def pair(name: str, **changed: tuple[float, ...]) -> PairThroughput:
    times: dict[str, tuple[float, ...]] = {
        "plain": (10.0, 20.0, 40.0),
        "uncached": (45.0, 50.0, 100.0),
        "cached": (40.0, 60.0, 100.0),
        "limit_with_teacher": (50.0, 50.0, 200.0),
        "limit_student": (80.0, 80.0, 80.0),
    }
    return PAIR.model_copy(update={"name": name, **times, **changed})


def test_speeds_are_medians_over_rounds() -> None:
    found = speeds([pair("W1"), pair("W2", plain=(1234.0, 1234.4, 1.0))])
    assert found["plain loop"] == ["20", "1,234"]
    assert found["limit with teacher"] == ["50", "50"]
    assert list(found) == [
        *("plain loop", "ours, uncached", "limit with teacher", "ours, cached"),
        "limit, student alone",
    ]


def test_ratios_are_taken_round_by_round() -> None:
    found = ratios([pair("W1")])
    # 40/10, 60/20 and 100/40
    assert found["cached / plain"] == ["3.00 (2.50 to 4.00)"]
    # 45/50, 50/50 and 100/200: the ratio of the medians would be 1.00
    assert found["uncached / limit"] == ["0.90 (0.50 to 1.00)"]
    assert COMPANY not in found


def test_the_cost_of_company_stands_where_it_was_measured() -> None:
    pairs = [pair("W1"), pair("W2", company_cost=(1.02, 1.0, 1.05))]
    assert ratios(pairs)[COMPANY] == ["", "1.02 (1.00 to 1.05)"]


@pytest.mark.parametrize("pairs", [(pair("W1"),), (pair("W1"), pair("W2"))])
def test_the_table_names_machine_pairs_and_every_row(pairs: tuple[PairThroughput, ...]) -> None:
    console = Console(width=110, file=io.StringIO())
    with console.capture() as shown:
        console.print(table(throughput(*pairs)))
    text = shown.get()
    assert "images/s at batch 128, 2 threads: Example CPU" in text
    assert text.count("-> small_cnn") == len(pairs)
    assert "small_cnn:width" not in text
    assert all(label in text for label in (speeds(pairs) | ratios(pairs)))
