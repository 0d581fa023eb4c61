"""What a teacher was worth, in words."""

import pytest

from compress.records.distill import EnsembleRow, SummaryRow
from compress.render.gains import (
    Gain,
    gain,
    gain_of_ensemble,
    gain_of_row,
    gain_over_seeds,
    verdict,
)
from tests.fake_run import student, summary_row

HELPED = student("small_cnn", kd_gain=0.0154, kd_gain_low=0.01, kd_gain_high=0.02)


def over_seeds(*, seeds: int = 3, low: float = 0.002, high: float = 0.022) -> SummaryRow:
    middle = (low + high) / 2
    return summary_row(seeds=seeds, kd_gain_mean=middle, kd_gain_low=low, kd_gain_high=high)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.001, 0.02, "KD helps"),
        (-0.001, 0.02, "within noise"),
        (0.0, 0.02, "within noise"),
        (-0.02, 0.0, "within noise"),
        (-0.02, -0.001, "KD hurts"),
    ],
)
def test_an_interval_says_whether_the_gain_is_real(low: float, high: float, words: str) -> None:
    assert verdict(low, high) == words


def test_a_gain_is_written_with_its_range_and_verdict() -> None:
    assert str(gain(0.0032, -0.001, 0.0075)) == "+0.32 (-0.10 to +0.75) within noise"
    assert str(gain(0.0032, -0.001, 0.0075, judged=False)) == "+0.32 (-0.10 to +0.75)"


def test_without_a_range_nothing_is_judged() -> None:
    assert str(gain(0.0032, None, None)) == "+0.32"
    assert gain(None, None, None) == Gain("-")


def test_only_a_seed_that_stands_alone_has_a_say() -> None:
    assert str(gain_of_row(HELPED, alone=True)) == "+1.54 (+1.00 to +2.00) KD helps (1 seed)"
    assert str(gain_of_row(HELPED, alone=False)) == "+1.54 (+1.00 to +2.00)"


def test_one_seed_that_is_worse_does_not_say_it_for_all() -> None:
    worse = student("small_cnn", kd_gain=-0.0154, kd_gain_low=-0.02, kd_gain_high=-0.01)
    assert gain_of_row(worse, alone=True).verdict == "KD hurts (1 seed)"


def test_the_mean_over_seeds_has_a_say() -> None:
    assert str(gain_over_seeds(over_seeds())) == "+1.20 (+0.20 to +2.20) KD helps"
    assert gain_over_seeds(over_seeds(low=-0.01, high=0.02)).verdict == "within noise"


def test_two_seeds_whose_range_holds_0_cannot_tell() -> None:
    wide = gain_over_seeds(over_seeds(seeds=2, low=-1.0, high=0.8))
    assert str(wide) == "-10.00 (-100.00 to +80.00) two seeds cannot tell"
    assert gain_over_seeds(over_seeds(seeds=2, low=0.01, high=0.03)).verdict == "KD helps"


def test_pairs_count_not_seeds() -> None:
    """Where a control diverged, its student has no say; where all but one did, nobody has."""
    wide = over_seeds(low=-1.0, high=0.8)
    two, one = (wide.model_copy(update={"kd_gain_pairs": pairs}) for pairs in (2, 1))
    assert gain_over_seeds(two).verdict == "two seeds cannot tell"
    assert str(gain_over_seeds(one)) == "-10.00 (-100.00 to +80.00)"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.001, 0.02, "averaging helps"),
        (-0.001, 0.02, "within noise"),
        (-0.02, -0.001, "averaging hurts"),
    ],
)
def test_an_ensembles_gain_has_words_of_its_own(low: float, high: float, words: str) -> None:
    row = EnsembleRow(
        label="average of 2 students",
        members=2,
        top1=0.9,
        top1_low=0.89,
        top1_high=0.91,
        mean_member_top1=0.89,
        gain=0.01,
        gain_low=low,
        gain_high=high,
    )
    assert gain_of_ensemble(row).verdict == words
