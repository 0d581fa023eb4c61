"""The table of a throughput record, and its rows for pages that are made from it."""

from collections.abc import Sequence
from statistics import median

from rich.table import Table

from compress.records.throughput import PairThroughput, ThroughputRecord

COMPANY = "four students / parts"
_SPEEDS = {
    "plain loop": "plain",
    "ours, uncached": "uncached",
    "limit with teacher": "limit_with_teacher",
    "ours, cached": "cached",
    "limit, student alone": "limit_student",
}
_RATIOS = {
    "uncached / limit": ("uncached", "limit_with_teacher"),
    "cached / limit": ("cached", "limit_student"),
    "cached / plain": ("cached", "plain"),
    "limit / plain": ("limit_student", "plain"),
}


def speeds(pairs: Sequence[PairThroughput]) -> dict[str, list[str]]:
    """Median images/s by what was timed, a cell per pair."""
    return {
        label: [f"{median(getattr(pair, variant)):,.0f}" for pair in pairs]
        for label, variant in _SPEEDS.items()
    }


def ratios(pairs: Sequence[PairThroughput]) -> dict[str, list[str]]:
    """Median ratios with their smallest and largest value over rounds, a cell per pair."""
    found = {
        label: [_spread(pair.ratios(above, below)) for pair in pairs]
        for label, (above, below) in _RATIOS.items()
    }
    if any(pair.company_cost for pair in pairs):
        costs = [_spread(pair.company_cost) if pair.company_cost else "" for pair in pairs]
        found[COMPANY] = costs
    return found


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def table(record: ThroughputRecord) -> Table:
    """Speeds and ratios of every pair."""
    machine = record.environment.accelerator or record.environment.cpu
    shown = Table(
        title=f"images/s at batch {record.batch_size}, {record.threads} threads: {machine}",
        caption="Medians over rounds, ratios taken round by round with their range. "
        "Limit: forward, backward and optimizer alone on one resident batch, in the best formats.",
    )
    shown.add_column("")
    for pair in record.pairs:
        names = [spec.partition(":")[0] for spec in (pair.teacher, pair.student)]
        shown.add_column(f"{pair.name} {names[0]}\n-> {names[1]}", justify="right")
    for label, cells in speeds(record.pairs).items():
        shown.add_row(label, *cells)
    shown.add_section()
    for label, cells in ratios(record.pairs).items():
        shown.add_row(label, *cells)
    return shown
