"""What `compress gate` decided, check by check."""

from typing import ClassVar, Literal

from compress.records.bench import BenchRecord
from compress.records.document import Document, Part

Outcome = Literal["pass", "fail", "inconclusive"]


class Check(Part):
    """One limit applied to one row.

    Attributes:
        name: The threshold, spelled like its option: `min-top1`.
        row: Name and precision of the row; empty for a check that found no row.
        outcome: Inconclusive when nothing could be compared, or the interval holds the limit.
        value: What was measured; null where it was not.
        low: Lower end of its interval; equal to `value` for what is known exactly.
        high: Upper end.
        limit: What it was compared with, in the unit of `value`.
        unit: fraction (of 1), ratio, ms or KiB.
        against: What the value is relative to; empty for absolute ones.
        reason: One sentence for people.
    """

    name: str
    row: str
    outcome: Outcome
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float
    unit: Literal["fraction", "ratio", "ms", "KiB"]
    against: str = ""
    reason: str


class GateRecord(Document):
    """The result of `compress gate`.

    Attributes:
        outcome: Pass, fail, or inconclusive, as the exit code says.
        exit_code: 0, 1 or 6.
        target: What was judged.
        baseline: What it was compared with, as named; null without one.
        checks: One per threshold and row.
        bench: The measurement behind them.
    """

    newest_schema: ClassVar[int] = 1

    outcome: Outcome
    exit_code: Literal[0, 1, 6]
    target: str
    baseline: str | None = None
    checks: tuple[Check, ...]
    bench: BenchRecord
