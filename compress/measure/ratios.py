"""Intervals of times and of ratios of times, honest about what one process cannot see.

Two sessions of one file differ by 0.6 to 1.0 % from process to process, because their memory lies
elsewhere, however long each process measures; resampling the calls of one process does not show it.
So a figure is estimated in several fresh processes, and its interval is Student's over them. Where
there was time for one process only, the interval is a bootstrap over its rounds, and says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress import evaluate
from compress.measure.latency import Timing

CONFIDENCE = 0.99
"""Of every interval of times; strict, because a gate looks several times while it measures."""

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A measured time in milliseconds, or a ratio of two.

    Attributes:
        value: The best single number.
        low: Lower end of its interval.
        high: Upper end.
        processes: In how many processes it was measured; with 1 the interval holds only what
            varies within a process.
    """

    value: float
    low: float
    high: float
    processes: int

    @property
    def relative_width(self) -> float:
        """Half the interval's width by the value."""
        return (self.high - self.low) / 2 / self.value


def paired_ratio(
    numerators: Sequence[Timing], denominators: Sequence[Timing], *, confidence: float = CONFIDENCE
) -> Estimate:
    """How many times longer one subject takes than another that was timed beside it.

    In each process: the median over rounds of the ratio of the two bursts' lower quartiles.

    Args:
        numerators: One timing per process.
        denominators: Those of the other subject in the same processes, in the same order.
        confidence: Share of such intervals that hold the true value.

    Returns:
        The ratio, unitless.

    Raises:
        ValueError: No timing, or the two do not come from the same rounds.
    """
    logs = []
    for above, below in zip(numerators, denominators, strict=True):
        if len(above.rounds) != len(below.rounds):
            raise ValueError(f"{len(above.rounds)} and {len(below.rounds)} rounds are not paired")
        logs.append(np.log(above.low_quantiles_ms / below.low_quantiles_ms))
    return _combine(logs, np.median, confidence)


def percentile(
    timings: Sequence[Timing], percent: float, *, confidence: float = CONFIDENCE
) -> Estimate:
    """A percentile of a subject's calls in milliseconds; the value is that of all calls together.

    Args:
        timings: One per process.
        percent: Which percentile, 0 to 100.
        confidence: Share of such intervals that hold the true value.

    Raises:
        ValueError: No timing.
    """
    if not timings:
        raise ValueError("no timing")

    def statistic(rounds: NDArray[np.float64]) -> float:
        return float(np.percentile(rounds, percent))

    pooled = float(np.percentile(np.concatenate([timing.calls_ms for timing in timings]), percent))
    spread = _combine([np.log(timing.rounds / 1e6) for timing in timings], statistic, confidence)
    # The percentile of all calls need not be the mean of the processes' percentiles.
    low, high = min(spread.low, pooled), max(spread.high, pooled)
    return Estimate(pooled, low, high, spread.processes)


def _combine(
    logs: Sequence[NDArray[np.float64]],
    statistic: Callable[[NDArray[np.float64]], float],
    confidence: float,
) -> Estimate:
    """An estimate from the logarithms seen in each process, (rounds, …) each."""
    if not logs:
        raise ValueError("no timing")
    estimates = np.array([float(statistic(rounds)) for rounds in logs])
    count = len(estimates)
    if count == 1:
        low, high = _bootstrap(logs[0], statistic, confidence)
        centre = estimates[0]
    else:
        centre = estimates.mean()
        low, high = evaluate.t_interval(estimates.tolist(), confidence)
    value, low, high = (float(np.exp(number)) for number in (centre, low, high))
    return Estimate(value, min(low, value), max(high, value), count)


def _bootstrap(
    rounds: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], float],
    confidence: float,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic over whole rounds."""
    generator = np.random.Generator(np.random.Philox(0))
    picks = generator.integers(0, len(rounds), size=(RESAMPLES, len(rounds)))
    values = [float(statistic(rounds[pick])) for pick in picks]
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
