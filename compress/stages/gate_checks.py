"""Applies limits to the rows of a bench: one plain verdict per threshold and row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from compress.config.gate import GateConfig
from compress.measure.verdicts import Verdict, at_least, at_most
from compress.records.bench import BenchModel, BenchRecord
from compress.records.gate import Check
from compress.stages import gate_figures
from compress.stages.gate_figures import ROUNDING, Baseline, Finding, Found, Judged
from compress.stages.gate_rows import Form

Unit = Literal["fraction", "ratio", "ms", "KiB"]


def judge(
    config: GateConfig,
    record: BenchRecord,
    models: Sequence[BenchModel],
    *,
    baseline: Baseline | None,
    absent: Sequence[Form] = (),
    names: Sequence[str] | None = None,
) -> list[Check]:
    """Every check of some rows.

    Args:
        config: The limits.
        record: Where the rows come from: images, machine, and the teacher.
        models: The rows to judge.
        baseline: What to compare with; None without one.
        absent: Forms that were asked for and are not there.
        names: The thresholds to apply; None applies all that are set.

    Returns:
        One check per threshold and row it applies to, an inconclusive one for every absent form;
        a threshold that applies to nothing gives one inconclusive check.
    """
    judged = Judged(config, record, baseline)
    checks: list[Check] = []
    for name, limit in config.thresholds.items():
        if names is not None and name not in names:
            continue
        rule = RULES[name]
        own = [
            _check(name, model, rule, limit, finding)
            for model in models
            if (finding := rule.find(judged, model)) is not None
        ]
        own += [
            _open(name, f"{model} {precision}", rule, limit, f"{model} has no {precision} form")
            for model, precision in absent
            if precision != "fp32" or not _judges_forms(config, name)
        ]
        checks += own or [_open(name, "", rule, limit, "there is no row to compare")]
    return checks


def _judges_forms(config: GateConfig, name: str) -> bool:
    """Whether a threshold compares other forms with fp32, and so does not apply to fp32."""
    return name == "max_quant_drop" or (
        name == "max_latency_ratio" and config.latency_reference == "fp32"
    )


def _open(name: str, row: str, rule: "Rule", limit: float, reason: str) -> Check:
    """A check for which there is no figure."""
    return Check(
        name=option(name),
        row=row,
        outcome="inconclusive",
        limit=rule.limit(limit),
        unit=rule.unit,
        reason=reason,
    )


def option(name: str) -> str:
    """A threshold's name as its option is spelled, without the dashes before it."""
    return name.replace("_", "-")


def _check(name: str, model: BenchModel, rule: "Rule", limit: float, finding: Finding) -> Check:
    if isinstance(finding, str):
        return _open(name, model.label, rule, limit, finding)
    bound = rule.limit(limit)
    # figures that are shares are rounded: a limit copied from one is met by it
    compared = round(bound, ROUNDING) if rule.unit == "fraction" else bound
    verdict = (at_least if rule.least else at_most)(finding.low, finding.high, compared)
    return Check(
        name=option(name),
        row=model.label,
        outcome=verdict.value,
        value=finding.value,
        low=finding.low,
        high=finding.high,
        limit=bound,
        unit=rule.unit,
        against=finding.against,
        reason=_reason(rule, finding, bound, verdict),
    )


def _reason(rule: "Rule", found: Found, limit: float, verdict: Verdict) -> str:
    value = rule.text(found.value)
    if found.low != found.high:
        value += f" ({rule.text(found.low)} to {rule.text(found.high)})"
    bound = "at least {} required" if rule.least else "at most {} allowed"
    against = f" against {found.against}" if found.against else ""
    parts = [f"{rule.what} {value}{against}, {bound.format(rule.text(limit))}"]
    if verdict is Verdict.INCONCLUSIVE:
        parts.append("the interval holds the limit")
    return "; ".join([*parts, *([found.note] if found.note else [])])


def _fraction(value: float) -> str:
    return f"{value:.4f}"


def _times(value: float) -> str:
    return f"{value:.3f}x"


def _milliseconds(value: float) -> str:
    return f"{value:.3f} ms"


def _kib(value: float) -> str:
    return f"{value:.1f} KiB"


TEXTS: dict[Unit, Callable[[float], str]] = {
    "fraction": _fraction,
    "ratio": _times,
    "ms": _milliseconds,
    "KiB": _kib,
}


@dataclass(frozen=True)
class Rule:
    """How one threshold is applied.

    Attributes:
        what: The figure, for people.
        unit: Of figure and limit.
        find: The figure of a row; None where the threshold does not apply to it.
        least: Whether the limit is a lower one.
        over_one: Whether the limit is an allowance above 1: 0.05 is 1.05.
    """

    what: str
    unit: Unit
    find: Callable[[Judged, BenchModel], Finding | None]
    least: bool = False
    over_one: bool = False

    def limit(self, threshold: float) -> float:
        """The limit in the figure's own unit."""
        return 1 + threshold if self.over_one else threshold

    def text(self, value: float) -> str:
        """A figure for people."""
        return TEXTS[self.unit](value)


RULES: dict[str, Rule] = {
    "min_top1": Rule("top-1", "fraction", gate_figures.top1, least=True),
    "max_top1_drop": Rule("top-1 drop", "fraction", gate_figures.teacher_drop),
    "max_quant_drop": Rule("top-1 drop", "fraction", gate_figures.quant_drop),
    "min_agreement": Rule("agreement", "fraction", gate_figures.agreement, least=True),
    "max_top1_regression": Rule("top-1 drop", "fraction", gate_figures.top1_regression),
    "max_size_kib": Rule("size", "KiB", gate_figures.size),
    "max_latency_ratio": Rule("latency", "ratio", gate_figures.latency_ratio),
    "max_p90_ms": Rule("p90", "ms", gate_figures.p90),
    "max_latency_regression": Rule(
        "latency", "ratio", gate_figures.latency_regression, over_one=True
    ),
}
