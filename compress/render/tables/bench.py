"""The result of `compress bench` as a table that fits 80 columns and uses more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from compress.records.bench import BenchModel, BenchRecord, Difference, HostTimes, Times
from compress.render.numbers import (
    ABSENT,
    amount,
    percent,
    percent_range,
    points,
    points_range,
    size,
)
from compress.render.tables.fitting import FirstThatFits, Row, Stacked, broken, folded, grid

NARROW_NAME = 14


def table(record: BenchRecord) -> RenderableType:
    """Every model beside its teacher; the accuracy of every class where it was asked for."""
    parts: list[RenderableType] = [heading(record), _models(record)]
    if any(model.per_class for model in record.models):
        parts.append(_classes(record.models))
    parts.append(Text(caption(record), style="dim"))
    return Group(*parts)


def heading(record: BenchRecord) -> Text:
    """What was measured where, in a line or two."""
    machine = record.environment
    text = Text(machine.cpu, style="bold")
    threads = f"{record.threads} thread{'s' if record.threads != 1 else ''}"
    version = machine.packages.get("onnxruntime", "?")
    text.append(f": {threads}, ONNX Runtime {version}", style="not bold")
    if record.data is not None:
        some = "" if record.data.images == record.data.of else f" of {record.data.of:,}"
        text.append(
            f"; {record.data.name}, {record.data.images:,}{some} test images", style="not bold"
        )
    return text


def caption(record: BenchRecord) -> str:
    """What the numbers are, and what the paired comparisons say."""
    lines = []
    if record.processes:
        lines.append(
            f"Latency in ms of one image, all models interleaved in {record.processes} fresh "
            "processes; warm: the first call of each turn is not counted. Speed-up: the teacher's "
            "p50 by the row's."
        )
    lines += [_untimed(model) for model in record.models if model.not_timed]
    if any(model.limit_ratio is not None for model in record.models):
        lines.append("Limit: p50 by the least this machine could take, from its measured peaks.")
    if any(model.top1 is not None for model in record.models):
        lines.append("Top-1 in per cent of the test images; ranges are 95% Wilson intervals.")
    for model in record.models:
        if model.fp32_ratio is not None:
            ratio = model.fp32_ratio
            lines.append(
                f"{model.label} takes {ratio.value:.3f}x the time of fp32 "
                f"({ratio.low:.3f} to {ratio.high:.3f})."
            )
        if model.fp32_difference is not None:
            lines.append(difference_line(model.label, model.fp32_difference))
    lines += [
        f"{row.name} {row.precision}: latency not measured on {host.host}: {row.not_timed}."
        for host in record.hosts
        for row in host.rows
        if row.not_timed
    ]
    there = (row for host in record.hosts for row in host.rows)
    if any(times.unstable for times in (*record.models, *there)):
        lines.append("~ unstable: the times vary too much, or are too few, to rely on.")
    lines += [f"{h.host}: {h.environment.cpu}, {h.environment.system}." for h in record.hosts]
    return "\n".join(lines)


def _untimed(model: BenchModel) -> str:
    """Why a row has no times, and where its accuracy comes from all the same."""
    accuracy = "" if model.top1 is None else "; its accuracy is that of a run without saturation"
    return f"{model.label}: latency not measured here: {model.not_timed}{accuracy}."


def difference_line(label: str, difference: Difference) -> str:
    """One paired comparison of accuracies in words."""
    gained = points_range(-difference.high, -difference.low)
    return (
        f"{label} is {points(-difference.top1_drop)} points from {difference.to} "
        f"({gained}; McNemar p = {difference.p_value:.2g})."
    )


@dataclass(frozen=True)
class _Column:
    """One fact per row."""

    head: str
    cell: Callable[[BenchModel], str | Text]
    words: bool = False


def _name(model: BenchModel) -> Text:
    text = Text(model.name)
    if model.role not in {"student", model.name}:
        text.append({"control": " no KD (control)", "teacher": " teacher"}[model.role], style="dim")
    return text


def _narrow_name(model: BenchModel) -> Text:
    text = Text(broken(model.name, NARROW_NAME))
    text.append(f"\n{model.precision}", style="dim")
    if model.role not in {"student", model.name}:
        text.append(" no KD" if model.role == "control" else " teacher", style="dim")
    return text


def milliseconds(value: float | None) -> str:
    """A time with three digits that matter: `0.173`, `1.70`, `35.2`, `120`."""
    if value is None:
        return ABSENT
    digits = 3 if value < 0.9995 else 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}"


def _median(times: Times) -> Text:
    text = Text(milliseconds(times.p50_ms))
    if times.unstable and times.p50_ms is not None:
        text = Text("~" + text.plain, style="yellow")
    return text


def factor(value: float | None) -> str:
    """A ratio: `4.62x`."""
    if value is None:
        return ABSENT
    return f"{value:.2f}x" if value < 9.995 else f"{value:.1f}x"


def _interval(model: BenchModel) -> str:
    if model.top1_low is None or model.top1_high is None:
        return ABSENT
    return percent_range(model.top1_low, model.top1_high)


def _count(value: int | None) -> str:
    return ABSENT if value is None else amount(value)


NAME = _Column("Model", _name, words=True)
PRECISION = _Column("Form", lambda m: m.precision, words=True)
SIZE = _Column("Size", lambda m: size(m.size_bytes))
PARAMETERS = _Column("Params", lambda m: _count(m.parameters))
MACS = _Column("MACs", lambda m: _count(m.macs))
TOP1 = _Column("Top-1", lambda m: percent(m.top1))
P50 = _Column("p50 ms", _median)
P90 = _Column("p90", lambda m: milliseconds(m.p90_ms))
P99 = _Column("p99", lambda m: milliseconds(m.p99_ms))
SPEEDUP = _Column("Speed-up", lambda m: factor(m.speedup))
RANGE = _Column("95% range", _interval)
LIMIT = _Column("Limit", lambda m: factor(m.limit_ratio))
SHORT = (NAME, PRECISION, SIZE, PARAMETERS, MACS, TOP1, P50, P90, P99, SPEEDUP)
WIDE = (
    *(NAME, PRECISION, SIZE, PARAMETERS, MACS, TOP1),
    RANGE,
    _Column("Agreement", lambda m: percent(m.agreement)),
    _Column("ECE", lambda m: percent(m.ece, 1)),
    *(P50, P90, P99, SPEEDUP),
    LIMIT,
    _Column(
        "Memory", lambda m: ABSENT if m.peak_memory_bytes is None else size(m.peak_memory_bytes)
    ),
)
MIDDLE = (NAME, PRECISION, SIZE, PARAMETERS, MACS, TOP1, RANGE, P50, P90, P99, SPEEDUP, LIMIT)
NARROW = (
    _Column("Model", _narrow_name, words=True),
    _Column("Size\nparams", lambda m: f"{size(m.size_bytes)}\n{_count(m.parameters)}"),
    _Column("MACs\ntop-1", lambda m: f"{_count(m.macs)}\n{percent(m.top1)}"),
    _Column("p50 ms", _median),
    _Column("p90\np99", lambda m: f"{milliseconds(m.p90_ms)}\n{milliseconds(m.p99_ms)}"),
    _Column("Speed-\nup", lambda m: factor(m.speedup)),
)


def _models(record: BenchRecord) -> FirstThatFits:
    hosts = [_host_column(host) for host in record.hosts]
    return FirstThatFits(
        *(_layout((*columns, *hosts), record.models) for columns in (WIDE, MIDDLE, SHORT)),
        Stacked(*_cells((*NARROW, *hosts), record.models)),
    )


def _host_column(host: HostTimes) -> _Column:
    timed = {(row.name, row.precision): _median(row) for row in host.rows}
    head = f"p50 on\n{folded(host.host)}"
    return _Column(head, lambda m: timed.get((m.name, m.precision), Text(ABSENT)))


def _cells(columns: Sequence[_Column], models: Sequence[BenchModel]) -> tuple[list[str], list[Row]]:
    """Heads and rows."""
    rows: list[Row] = [[column.cell(model) for column in columns] for model in models]
    return [column.head for column in columns], rows


def _layout(columns: Sequence[_Column], models: Sequence[BenchModel]) -> Table:
    return grid(*_cells(columns, models), left=sum(column.words for column in columns))


def _classes(models: Sequence[BenchModel]) -> FirstThatFits:
    """Top-1 of every class, one column per model; of many models in parts."""
    asked = [model for model in models if model.per_class]
    title = "Top-1 by class"
    rows: list[Row] = []
    for number, first in enumerate(asked[0].per_class or ()):
        shares = [model.per_class[number].top1 for model in asked if model.per_class]
        rows.append([first.name, str(first.images), *(percent(share) for share in shares)])

    def heads(name: Callable[[str], str]) -> list[str]:
        return ["Class", "Images", *(f"{name(model.name)}\n{model.precision}" for model in asked)]

    return FirstThatFits(
        grid(heads(str), rows, title=title), Stacked(heads(folded), rows, title=title)
    )
