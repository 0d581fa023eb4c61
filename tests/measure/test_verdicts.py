from typing import Literal

import pytest

from compress.measure.verdicts import Verdict, at_least, at_most, exit_code

PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.99, 1.01, PASS),
        (1.02, 1.05, PASS),
        (1.04, 1.06, OPEN),
        (1.0501, 1.2, FAIL),
        (1.05, 1.05, PASS),
        (float("nan"), float("nan"), OPEN),
        (0.0, float("inf"), OPEN),
    ],
)
def test_only_an_interval_wholly_beyond_an_upper_limit_fails(
    low: float, high: float, verdict: Verdict
) -> None:
    assert at_most(low, high, 1.05) is verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.93, 0.95, PASS), (0.91, 0.95, OPEN), (0.90, 0.9199, FAIL), (0.92, 0.92, PASS)],
)
def test_only_an_interval_wholly_below_a_lower_limit_fails(
    low: float, high: float, verdict: Verdict
) -> None:
    assert at_least(low, high, 0.92) is verdict


@pytest.mark.parametrize(
    ("verdicts", "inconclusive", "code"),
    [
        ([PASS, PASS], None, 0),
        ([PASS, FAIL], None, 1),
        ([FAIL, OPEN], None, 1),
        ([FAIL, OPEN], "pass", 1),
        ([PASS, OPEN], None, 6),
        ([PASS, OPEN], "pass", 0),
        ([PASS, OPEN], "fail", 1),
        ([OPEN], None, 6),
        ([OPEN], "pass", 6),
        ([OPEN], "fail", 6),
        ([OPEN, OPEN], "fail", 6),
        ([], None, 6),
        ([], "pass", 6),
        ([], "fail", 6),
    ],
)
def test_a_gate_ends_with(
    verdicts: list[Verdict], inconclusive: Literal["pass", "fail"] | None, code: int
) -> None:
    assert exit_code(verdicts, inconclusive=inconclusive) == code
