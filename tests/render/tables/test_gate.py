"""The table of a gate."""

import io
import re

import pytest
from rich.console import Console

from compress.records.gate import GateRecord
from compress.render.tables.gate import table
from tests.fake_bench import check, verdicts


def render(found: GateRecord, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(found))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_check_has_verdict_figure_range_and_limit_on_one_line() -> None:
    ratio = check(
        name="max-latency-ratio", value=0.25, low=0.24, high=0.26, limit=0.3, unit="ratio"
    )
    shown = render(verdicts(check(), ratio)).splitlines()
    cells = [re.split(r"\s{2,}", text.strip()) for text in shown if text.strip().startswith("pass")]
    assert cells == [
        ["pass", "min-top1", "small int8", "93.00%", "-", "≥ 92.00%"],
        ["pass", "max-latency-ratio", "small int8", "0.250x", "0.240x to 0.260x", "≤ 0.300x"],
    ]


@pytest.mark.parametrize(
    ("code", "end"),
    [
        (0, "gate passed (exit code 0)"),
        (1, "gate failed (exit code 1)"),
        (6, "gate inconclusive: nothing is proven, neither good nor bad (exit code 6)"),
    ],
)
def test_the_last_line_is_the_outcome(code: int, end: str) -> None:
    assert render(verdicts(check(), code=code)).splitlines()[-1] == end


def test_what_did_not_pass_says_why() -> None:
    failed = check(outcome="fail", reason="top-1 too low")
    unknown = check(name="max-p90-ms", row="", outcome="inconclusive", value=None, low=None,
                    high=None, unit="ms", limit=5, reason="no [times]")  # fmt: skip
    shown = render(verdicts(check(reason="fine"), failed, unknown, code=1))
    assert "FAIL min-top1 of small int8: top-1 too low" in shown
    assert "cannot tell max-p90-ms: no [times]" in shown
    assert "fine" not in shown


@pytest.mark.parametrize("width", [60, 80])
def test_it_fits_the_terminal(width: int) -> None:
    long = check(
        row="mobilenet_v2-a0.5-t4-s0 int8", name="max-latency-regression", unit="ratio",
        value=1.02, low=1.01, high=1.03, limit=1.05,
    )  # fmt: skip
    shown = render(verdicts(long), width)
    assert max(len(text) for text in shown.splitlines()) <= width
    assert "1.010x to 1.030x" in shown


def test_a_drop_of_nothing_from_below_has_no_minus() -> None:
    shown = render(verdicts(check(name="max-drop", value=-0.0, low=-0.00004, high=0.0)), 120)
    assert "0.00% to 0.00%" in shown
    assert "-0.00" not in shown
