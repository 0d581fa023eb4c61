import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from compress.measure.latency import Timing
from compress.measure.ratios import paired_ratio, percentile


def timing(milliseconds: NDArray[np.float64], name: str = "a") -> Timing:
    return Timing(name, np.round(milliseconds * 1e6).astype(np.int64))


def test_a_ratio_is_paired_within_rounds() -> None:
    # the machine slows down tenfold between rounds; each round's ratio is exactly 2
    slow = np.array([[1.0], [10.0], [100.0]])
    estimate = paired_ratio([timing(2 * slow)] * 2, [timing(slow)] * 2)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2, 2, 2))


def test_a_ratio_ignores_interruptions_of_single_calls() -> None:
    above, below = np.full((9, 8), 3.0), np.full((9, 8), 2.0)
    above[:, 5] = 50.0
    estimate = paired_ratio([timing(above)] * 2, [timing(below)] * 2)
    assert estimate.value == pytest.approx(1.5)


def test_between_processes_the_interval_is_students_on_the_logarithms() -> None:
    ratios = [1.00, 1.02, 0.98, 1.01, 1.03]
    above = [timing(np.full((3, 2), 10 * ratio)) for ratio in ratios]
    below = [timing(np.full((3, 2), 10.0))] * 5
    estimate = paired_ratio(above, below, confidence=0.95)
    logs = np.log(ratios)
    low, high = stats.t.interval(0.95, 4, loc=logs.mean(), scale=stats.sem(logs))
    assert estimate.processes == 5
    assert estimate.value == pytest.approx(np.exp(logs.mean()), rel=1e-6)
    assert estimate.low == pytest.approx(np.exp(low), rel=1e-6)
    assert estimate.high == pytest.approx(np.exp(high), rel=1e-6)


def test_within_one_process_the_interval_is_scipys_bootstrap_of_the_median() -> None:
    generator = np.random.Generator(np.random.Philox(5))
    logs = generator.normal(0.1, 0.05, size=(41, 1))
    estimate = paired_ratio(
        [timing(1000 * np.exp(logs))], [timing(np.full((41, 1), 1000.0))], confidence=0.95
    )
    reference = stats.bootstrap(
        (logs[:, 0],), np.median, method="percentile", n_resamples=9999, rng=generator
    ).confidence_interval
    assert estimate.processes == 1
    assert estimate.value == pytest.approx(np.exp(np.median(logs)), rel=1e-6)
    assert np.log(estimate.low) == pytest.approx(reference.low, abs=0.006)
    assert np.log(estimate.high) == pytest.approx(reference.high, abs=0.006)


def test_intervals_between_processes_hold_the_truth_as_often_as_they_say() -> None:
    generator = np.random.Generator(np.random.Philox(7))
    held = 0
    for _ in range(400):
        biases = generator.normal(0, 0.01, size=5)
        noise = generator.normal(0, 0.05, size=(5, 30, 4))
        above = [timing(1000 * np.exp(biases[k] + noise[k])) for k in range(5)]
        below = [timing(1000 * np.exp(generator.normal(0, 0.05, size=(30, 4)))) for _ in range(5)]
        estimate = paired_ratio(above, below, confidence=0.9)
        held += estimate.low <= 1 <= estimate.high
    assert 0.86 <= held / 400 <= 0.94


def test_percentiles_are_those_of_all_calls_of_all_processes() -> None:
    first, second = np.arange(1.0, 51.0).reshape(10, 5), np.arange(51.0, 101.0).reshape(10, 5)
    estimate = percentile([timing(first), timing(second)], 90)
    assert estimate.value == pytest.approx(np.percentile(np.arange(1, 101), 90))
    assert estimate.low <= estimate.value <= estimate.high


def test_more_processes_narrow_the_interval() -> None:
    def estimate(processes: int) -> float:
        values = [100 + (k % 2) for k in range(processes)]
        return percentile([timing(np.full((3, 2), float(v))) for v in values], 50).relative_width

    assert estimate(12) < estimate(6) < estimate(4)


def test_rounds_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 4 rounds"):
        paired_ratio([timing(np.ones((3, 1)))], [timing(np.ones((4, 1)))])
    with pytest.raises(ValueError, match="no timing"):
        paired_ratio([], [])
