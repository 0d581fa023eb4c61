"""What a teacher or an average was worth, in words: one wording for tables, reports and pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from compress.records.distill import EnsembleRow, StudentRow, SummaryRow
from compress.render.numbers import points, points_range

NOISE = "within noise"
TWO_SEEDS = "two seeds cannot tell"
HURTS = "KD hurts"
HELPS = "KD helps"
HURTS_ONE = "KD hurts (1 seed)"
HELPS_ONE = "KD helps (1 seed)"
AVERAGE_HURTS = "averaging hurts"
AVERAGE_HELPS = "averaging helps"
TONES: Mapping[str, Literal["good", "bad", "noise"]] = {
    HELPS: "good",
    HELPS_ONE: "noise",
    AVERAGE_HELPS: "good",
    HURTS: "bad",
    HURTS_ONE: "bad",
    AVERAGE_HURTS: "bad",
    NOISE: "noise",
    TWO_SEEDS: "noise",
}
"""How a verdict is coloured: a gain of one seed is not yet good news, but harm is a warning."""
ONE_SEED = "One seed: how much other seeds would differ is in no range"
"""Said below tables that have the gain of one seed."""
MORE_SEEDS = "; --seeds 0,1,2 measures it"
"""Said after it, unless a training diverged: then there are other things to do first."""


@dataclass(frozen=True)
class Gain:
    """A gain as it is written; as text `+0.32 (-0.10 to +0.75) within noise`.

    Attributes:
        points: In percentage points with its sign; `-` where there is none.
        range: Its 95% interval in points; empty where there is none.
        verdict: What the range says; empty where it says nothing.
    """

    points: str
    range: str = ""
    verdict: str = ""

    def __str__(self) -> str:
        bracketed = f"({self.range})" if self.range else ""
        return " ".join(part for part in (self.points, bracketed, self.verdict) if part)


def gain(
    value: float | None,
    low: float | None,
    high: float | None,
    *,
    judged: bool = True,
    helps: str = HELPS,
    hurts: str = HURTS,
    noise: str = NOISE,
) -> Gain:
    """A KD gain with its interval and what that says.

    Args:
        value: A difference of fractions, or None.
        low: Lower end of its interval, or None.
        high: Upper end.
        judged: Whether the interval has a say.
        helps: Words for an interval above 0.
        hurts: Words for one below 0.
        noise: Words for one that holds 0.
    """
    if value is None or low is None or high is None:
        return Gain(points(value))
    said = verdict(low, high, helps=helps, hurts=hurts, noise=noise) if judged else ""
    return Gain(points(value), points_range(low, high), said)


def gain_of_row(row: StudentRow, *, alone: bool) -> Gain:
    """The KD gain of one seed, whose interval knows the error over test images alone.

    Args:
        row: The student or control.
        alone: Whether it is the only seed; one of several has no say of its own, nor has the one
            that is left where those of other seeds diverged.
    """
    low, high = row.kd_gain_low, row.kd_gain_high
    return gain(row.kd_gain, low, high, judged=alone, helps=HELPS_ONE, hurts=HURTS_ONE)


def gain_over_seeds(row: SummaryRow) -> Gain:
    """The mean KD gain of several seeds; of two, a range that holds 0 says nothing at all.

    Of the one seed that is left where others diverged, no range has a say.
    """
    pairs = row.seeds if row.kd_gain_pairs is None else row.kd_gain_pairs
    noise = NOISE if pairs > 2 else TWO_SEEDS
    return gain(row.kd_gain_mean, row.kd_gain_low, row.kd_gain_high, judged=pairs > 1, noise=noise)


def gain_of_ensemble(row: EnsembleRow) -> Gain:
    """What averaging is worth over the mean of the members; older records have no interval."""
    if row.gain is None or row.gain_low is None or row.gain_high is None:
        return Gain(points(row.top1 - row.mean_member_top1))
    said = verdict(row.gain_low, row.gain_high, helps=AVERAGE_HELPS, hurts=AVERAGE_HURTS)
    return Gain(points(row.gain), points_range(row.gain_low, row.gain_high), said)


def verdict(
    low: float, high: float, *, helps: str = HELPS, hurts: str = HURTS, noise: str = NOISE
) -> str:
    """What the interval of a gain says.

    Args:
        low: Lower end, a difference of fractions.
        high: Upper end.
        helps: Words for a gain that is real.
        hurts: Words for a loss that is.
        noise: Words for what may be chance.
    """
    if low > 0:
        return helps
    return hurts if high < 0 else noise
