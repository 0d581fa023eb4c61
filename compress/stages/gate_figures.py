"""The figures that a gate compares with its limits: one function per threshold.

Accuracies are exact where every test image was asked: the split is fixed and the answers are
deterministic, so the figure itself is compared with the limit, whatever another draw of images
would have given. On a part of the images (`--limit`), on few of them, and where classes have none,
the interval is compared. Times are always judged by their intervals, and only where these come
from several processes.
"""

import math
from dataclasses import dataclass

from compress.config.gate import GateConfig
from compress.measure.process import PROCESSES
from compress.records.bench import BenchModel, BenchRecord, Difference, Ratio
from compress.records.document import Environment
from compress.runtime import NVIDIA
from compress.stages.bench_images import missing_classes
from compress.stages.bench_rows import Described, counterpart

ROUNDING = 9
"""Digits a difference of fractions is rounded to: 0.9339 - 0.9289 must not exceed 0.005."""

FEWEST_IMAGES = 30
"""Test images from which on a split is taken for the whole of what a model must do."""

NO_BASELINE = "no --baseline to compare with"


@dataclass(frozen=True)
class Found:
    """A figure to judge.

    Attributes:
        value: What was measured.
        low: Lower end of what is compared with the limit.
        high: Upper end.
        against: What it is relative to.
        note: Added to the reason.
    """

    value: float
    low: float
    high: float
    against: str = ""
    note: str = ""


@dataclass(frozen=True)
class Baseline:
    """What regressions are measured against.

    Attributes:
        record: Its own record; None where its rows were measured beside the judged ones.
        renamed: As in `counterpart`, for its rows.
        rows: All that it has.
    """

    record: BenchRecord | None = None
    renamed: bool = False
    rows: tuple[Described, ...] = ()

    def lacks(self, model: BenchModel) -> str:
        """Why a row has nothing to be compared with, where it has no counterpart; else empty."""
        found = counterpart(model, self.rows, renamed=self.renamed)
        return "" if found is not None else f"the baseline has no {model.label}"


Finding = Found | str
"""A figure, or why there is none."""


@dataclass(frozen=True)
class Judged:
    """What the rules look at."""

    config: GateConfig
    record: BenchRecord
    baseline: Baseline | None

    @property
    def sample(self) -> str:
        """Why the images are a sample, and figures have intervals; empty where they are exact."""
        data = self.record.data
        if data is None:
            return "the images are not known"
        if data.images < data.of:
            return f"{data.images} of {data.of} test images"
        few = f"only {data.images} test images" if data.images < FEWEST_IMAGES else ""
        return "; ".join(filter(None, (few, missing_classes(data))))

    def fraction(self, value: float, low: float, high: float, **more: str) -> Found:
        """A figure over the test images, exact where all were asked."""
        value = round(value, ROUNDING)
        sample = self.sample
        if not sample:
            note = f"95% interval for other images {low:.4f} to {high:.4f}"
            return Found(value, value, value, note=note, **more)
        note = f"judged by the interval: {sample}"
        return Found(value, round(low, ROUNDING), round(high, ROUNDING), note=note, **more)


def _no_answers(model: BenchModel) -> str:
    return model.not_judged or "it was not asked about any labelled image"


def top1(judged: Judged, model: BenchModel) -> Finding | None:
    """Share of the test images recognised."""
    if model.top1 is None or model.top1_low is None or model.top1_high is None:
        return _no_answers(model)
    return judged.fraction(model.top1, model.top1_low, model.top1_high)


def _drop(judged: Judged, difference: Difference | None, missing: str) -> Finding:
    if difference is None:
        return missing
    return judged.fraction(
        difference.top1_drop, difference.low, difference.high, against=difference.to
    )


def teacher_drop(judged: Judged, model: BenchModel) -> Finding | None:
    """Top-1 lost against the teacher."""
    if model.top1 is None:
        return _no_answers(model)
    return _drop(judged, model.teacher_difference, _no_teacher(judged, "accuracy"))


def quant_drop(judged: Judged, model: BenchModel) -> Finding | None:
    """Top-1 lost against the float32 form of the same model; None for that form."""
    if model.precision == "fp32":
        return None
    if model.top1 is None:
        return _no_answers(model)
    return _drop(judged, model.fp32_difference, f"no fp32 form of {model.name} to compare with")


def _no_teacher(judged: Judged, figure: str) -> str:
    if any(model.role == "teacher" for model in judged.record.models):
        return f"the teacher has no {figure} here"
    return "no teacher to compare with: name one with --teacher"


def agreement(judged: Judged, model: BenchModel) -> Finding | None:
    """Share of the test images with the teacher's top-1."""
    if model.agreement is None or model.agreement_low is None or model.agreement_high is None:
        if not model.images:
            return _no_answers(model)
        return _no_teacher(judged, "answers")
    return judged.fraction(
        model.agreement, model.agreement_low, model.agreement_high, against="the teacher"
    )


def size(_judged: Judged, model: BenchModel) -> Finding | None:
    """Size of the file, in KiB."""
    size = model.size_bytes / 1024
    return Found(size, size, size)


def _few_processes(processes: int) -> str:
    return (
        f"measured in {processes} process{'es' if processes != 1 else ''}, {PROCESSES} are needed: "
        "raise --max-seconds"
    )


def _not_timed(model: BenchModel) -> str:
    return f"latency not measured: {model.not_timed or 'it was not timed'}"


def _ratio(model: BenchModel, ratio: Ratio | None, missing: str) -> Finding:
    if model.p50_ms is None:
        return _not_timed(model)
    if ratio is None:
        return missing
    if ratio.processes < PROCESSES:
        return _few_processes(ratio.processes)
    return Found(ratio.value, ratio.low, ratio.high, against=ratio.to)


def latency_ratio(judged: Judged, model: BenchModel) -> Finding | None:
    """Latency by that of the reference asked for; None for the reference itself."""
    if judged.config.latency_reference == "teacher":
        return _ratio(model, model.teacher_ratio, _no_teacher(judged, "times"))
    if model.precision == "fp32":
        return None
    return _ratio(model, model.fp32_ratio, f"no fp32 form of {model.name} was timed")


def p90(_judged: Judged, model: BenchModel) -> Finding | None:
    """Ninetieth percentile of the latency, in milliseconds."""
    if model.p50_ms is None:
        return _not_timed(model)
    if model.p90_ms is None or model.p90_low_ms is None or model.p90_high_ms is None:
        return f"only {model.samples} calls were timed, too few for a percentile"
    if model.processes < PROCESSES:
        return _few_processes(model.processes)
    return Found(model.p90_ms, model.p90_low_ms, model.p90_high_ms)


def latency_regression(judged: Judged, model: BenchModel) -> Finding | None:
    """Latency by that of the baseline's row: measured beside it, or both against the ruler."""
    if judged.baseline is None:
        return NO_BASELINE
    before = judged.baseline.record
    if before is None:
        lacking = judged.baseline.lacks(model)
        if lacking and model.baseline_ratio is None:
            return lacking
        untimed = f"{model.label} of the baseline was not timed: see the notes"
        return _ratio(model, model.baseline_ratio, untimed)
    if model.p50_ms is None:
        return _not_timed(model)
    other = counterpart(model, before.models, renamed=judged.baseline.renamed)
    if other is None or other.ruler_ratio is None or model.ruler_ratio is None:
        return f"the baseline has no times of {model.label}"
    refused = incomparable(judged.record, before)
    if refused:
        return f"times of the baseline cannot be compared: {refused}"
    fewest = min(other.ruler_ratio.processes, model.ruler_ratio.processes)
    if fewest < PROCESSES:
        return _few_processes(fewest)
    return _quotient(model.ruler_ratio, other.ruler_ratio, against=f"{other.label} in the baseline")


def _quotient(above: Ratio, below: Ratio, *, against: str) -> Found:
    """The ratio of two ratios to the ruler; their errors are independent."""
    centre = math.log(above.value / below.value)
    up = math.hypot(math.log(above.high / above.value), math.log(below.value / below.low))
    down = math.hypot(math.log(above.value / above.low), math.log(below.high / below.value))
    return Found(math.exp(centre), math.exp(centre - down), math.exp(centre + up), against=against)


def incomparable(record: BenchRecord, baseline: BenchRecord) -> str:
    """Why the times of two records do not compare; empty where they do."""

    def machine(environment: Environment) -> tuple[object, ...]:
        return (environment.cpu, environment.instruction_sets, environment.system)

    now, before = record.environment, baseline.environment
    if machine(now) != machine(before):
        return f"another machine ({before.cpu}, this is {now.cpu})"
    runtimes = [each.packages.get("onnxruntime", "?") for each in (before, now)]
    if runtimes[0] != runtimes[1]:
        return f"another runtime (onnxruntime {runtimes[0]}, this is {runtimes[1]})"
    settings = [(each.provider, each.threads) for each in (baseline, record)]
    if settings[0] != settings[1]:
        return f"other settings ({settings[0][0]}, {settings[0][1]} threads)"
    if record.provider in NVIDIA and (not now.accelerator or now.accelerator != before.accelerator):
        names = [each.accelerator or "unknown" for each in (before, now)]
        return f"another GPU, or one that is not known ({names[0]}, this is {names[1]})"
    if baseline.ruler_sha256 != record.ruler_sha256:
        return "another ruler: it comes from another version of compress"
    old, new = baseline.data, record.data
    if (old is None) != (new is None) or (
        old is not None and new is not None and old.name != new.name and old.sha256 != new.sha256
    ):
        names = ["none" if data is None else data.name for data in (old, new)]
        return f"other data ({names[0]}, this is {names[1]}): name the same with --data"
    return ""


def top1_regression(judged: Judged, model: BenchModel) -> Finding | None:
    """Top-1 lost against the baseline's row."""
    if judged.baseline is None:
        return NO_BASELINE
    if model.top1 is None or model.top1_low is None or model.top1_high is None:
        return _no_answers(model)
    before = judged.baseline.record
    if before is None:
        unasked = f"{model.label} of the baseline was not asked: see the notes"
        return _drop(judged, model.baseline_difference, judged.baseline.lacks(model) or unasked)
    other = counterpart(model, before.models, renamed=judged.baseline.renamed)
    if other is None or other.top1 is None or other.top1_low is None or other.top1_high is None:
        return f"the baseline has no accuracy of {model.label}"
    if before.data is None or judged.record.data is None:
        return "the baseline does not say on which images it was measured"
    if before.data.sha256 != judged.record.data.sha256:
        return f"the baseline was measured on other images ({before.data.name})"
    drop = other.top1 - model.top1
    # Newcombe, "Interval estimation for the difference between independent proportions", 1998,
    # method 10: wider than the paired interval that two files alone cannot give.
    low = drop - math.hypot(other.top1 - other.top1_low, model.top1_high - model.top1)
    high = drop + math.hypot(other.top1_high - other.top1, model.top1 - model.top1_low)
    return judged.fraction(drop, low, high, against=f"{other.label} in the baseline")
