"""Turns intervals and limits into pass, fail, or "cannot tell"."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

PASSED, FAILED, UNDECIDED = 0, 1, 6


class Verdict(StrEnum):
    """What a check says."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


def at_most(low: float, high: float, limit: float) -> Verdict:
    """Judge something that must not exceed a limit.

    Args:
        low: Lower end of its interval; equal to `high` for what is known exactly.
        high: Upper end.
        limit: The largest value allowed.

    Returns:
        Fail if the whole interval is beyond the limit, pass if it is inside, else inconclusive;
        inconclusive too where an end is not a number.
    """
    if high <= limit:
        return Verdict.PASS
    if low > limit:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def at_least(low: float, high: float, limit: float) -> Verdict:
    """Judge something that must reach a limit; the mirror of `at_most`."""
    return at_most(-high, -low, -limit)


def exit_code(
    verdicts: Sequence[Verdict], *, inconclusive: Literal["pass", "fail"] | None = None
) -> int:
    """What a gate with these verdicts ends with.

    Args:
        verdicts: One per check.
        inconclusive: What an undecided check counts as, where another check was decided.

    Returns:
        1 if any check failed, 6 if nothing at all was decided; then what `inconclusive` says if
        any is undecided, 6 where it says nothing, else 0. Nothing compared is neither good nor bad.
    """
    if Verdict.FAIL in verdicts:
        return FAILED
    if Verdict.PASS not in verdicts:
        return UNDECIDED
    if Verdict.INCONCLUSIVE not in verdicts:
        return PASSED
    return {None: UNDECIDED, "pass": PASSED, "fail": FAILED}[inconclusive]
