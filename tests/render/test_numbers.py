"""How numbers are written."""

import pytest

from compress.render.numbers import (
    amount,
    clock,
    duration,
    percent,
    percent_range,
    points,
    points_range,
    size,
)


def test_fractions_become_per_cent() -> None:
    assert percent(0.9339) == "93.39"
    assert percent(1.0, 0) == "100"
    assert percent(None) == "-"
    assert percent_range(0.9288, 0.9386) == "92.88-93.86"


def test_differences_keep_their_sign() -> None:
    assert points(0.0042) == "+0.42"
    assert points(-0.0232) == "-2.32"
    assert points(None) == "-"
    assert points_range(-0.001, 0.0094) == "-0.10 to +0.94"


@pytest.mark.parametrize("nothing", [0.0, -0.0, -0.00004, -1e-18])
def test_nothing_is_never_less_than_nothing(nothing: float) -> None:
    assert points(nothing) == "+0.00"
    assert percent(nothing) == "0.00"
    assert points(-0.00006) == "-0.01"
    assert percent(-0.00006) == "-0.01"
    assert points(nothing, 1) == "+0.0"
    assert percent(nothing, 0) == "0"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (290_000, "290 k"),
        (999_600, "1.00 M"),
        (2_236_682, "2.24 M"),
        (38_600_000, "38.6 M"),
        (125_485_706, "125 M"),
        (1_298_000_000, "1.30 G"),
    ],
)
def test_large_counts_keep_three_digits(number: int, text: str) -> None:
    assert amount(number) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(512, "512 B"), (1536, "1.5 KiB"), (2**20, "1.0 MiB"), (5 * 2**40, "5120.0 GiB")],
)
def test_sizes_have_binary_units(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (4.2, "4.2 s"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (59.6, "1.0 min"),
        (312, "5.2 min"),
        (3596, "59.9 min"),
        (3598, "1.0 h"),
        (5025, "1.4 h"),
    ],
)
def test_times_are_in_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_countdown_reads_like_a_clock() -> None:
    assert [clock(s) for s in (-1, 0, 42, 725.4, 3723)] == [
        "0:00",
        "0:00",
        "0:42",
        "12:05",
        "1:02:03",
    ]
