"""The result of `compress gate` as a table: one verdict per check, and what they add up to."""

from rich.console import Group, RenderableType
from rich.text import Text

from compress.records.gate import Check, GateRecord
from compress.render.numbers import ABSENT, percent
from compress.render.tables.fitting import FirstThatFits, broken, grid

WORDS = {"pass": "pass", "fail": "FAIL", "inconclusive": "cannot tell"}
STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}
ENDS = {
    "pass": "gate passed",
    "fail": "gate failed",
    "inconclusive": "gate inconclusive: nothing is proven, neither good nor bad",
}


def table(record: GateRecord) -> RenderableType:
    """Every check, the reasons of those that did not pass, and the outcome."""
    reasons = Text()
    for check in record.checks:
        if check.outcome != "pass":
            reasons.append(WORDS[check.outcome], style=STYLES[check.outcome])
            reasons.append(f" {headline(check)}: {check.reason}\n")
    end = Text(f"{ENDS[record.outcome]} (exit code {record.exit_code})")
    end.stylize(STYLES[record.outcome])
    wide = grid(
        ["Verdict", "Check", "Model", "Measured", "Range", "Limit"],
        [
            [_word(c), c.name, c.row or ABSENT, value(c), interval(c), limit(c)]
            for c in record.checks
        ],
        left=3,
    )
    narrow = grid(
        ["Verdict", "Check and model", "Measured", "Limit"],
        [
            [
                _word(check),
                f"{check.name}\n{broken(check.row or ABSENT)}",
                "\n".join(part for part in (value(check), interval(check)) if part != ABSENT)
                or ABSENT,
                limit(check),
            ]
            for check in record.checks
        ],
        left=2,
    )
    parts: list[RenderableType] = [FirstThatFits(wide, narrow)]
    if reasons:
        parts.append(reasons)
    return Group(*parts, end)


def headline(check: Check) -> str:
    """Check and row in a few words."""
    return f"{check.name} of {check.row}" if check.row else check.name


def _word(check: Check) -> Text:
    return Text(WORDS[check.outcome], style=STYLES[check.outcome])


def amount(number: float | None, unit: str) -> str:
    """A figure in its unit; fractions in per cent."""
    if number is None:
        return ABSENT
    texts = {
        "fraction": f"{percent(number)}%",
        "ratio": f"{number:.3f}x",
        "ms": f"{number:.3f} ms",
        "KiB": f"{number:.1f} KiB",
    }
    return texts[unit]


def value(check: Check) -> str:
    """What was measured."""
    return amount(check.value, check.unit)


def interval(check: Check) -> str:
    """The range that was compared with the limit; nothing for exact figures."""
    if check.low is None or check.low == check.high:
        return ABSENT
    return f"{amount(check.low, check.unit)} to {amount(check.high, check.unit)}"


def limit(check: Check) -> str:
    """The limit with its direction."""
    sign = "≥" if check.name.startswith("min-") else "≤"
    return f"{sign} {amount(check.limit, check.unit)}"
