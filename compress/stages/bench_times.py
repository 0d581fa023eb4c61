"""Times the rows of a bench, and relates them to each other and to the machine."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress import runtime
from compress.config.bench import MeasuringConfig
from compress.data.images import ImageSet
from compress.measure import roofline
from compress.measure.golden import load_golden
from compress.measure.latency import check_threads
from compress.measure.process import Job, Measurement, measure, run_process
from compress.measure.ratios import Estimate
from compress.progress import Progress
from compress.records.bench import Peaks as PeaksRecord
from compress.records.bench import Ratio
from compress.stages.bench_rows import Row

RULER = "ruler"
INPUTS = 64
"""Different images a model is timed with, in turn."""

NARROW = 0.02
"""Half the width of a ratio's interval, relative, at which a bench has measured enough."""

UNSTABLE = 0.10
"""Coefficient of variation of the bursts' medians above which a row is called unstable; on an idle
server it is 0.01 to 0.05."""

FEWEST_SAMPLES = 30


@dataclass(frozen=True)
class Timed:
    """A measurement and the rows in it.

    Attributes:
        measurement: Of every job.
        rows: Those that were timed.
        reasons: Why the others were not, by row key.
        peak_memory: Bytes, by row key; empty where it was not asked for.
        peaks: Of the machine; None where they were not asked for.
    """

    measurement: Measurement
    rows: Sequence[Row]
    reasons: Mapping[str, str]
    peak_memory: Mapping[str, int] = field(default_factory=dict)
    peaks: roofline.Peaks | None = None

    @property
    def keys(self) -> frozenset[str]:
        """The rows that were timed."""
        return frozenset(row.key for row in self.rows)


def time_rows(
    rows: Sequence[Row],
    config: MeasuringConfig,
    *,
    images: Mapping[int, ImageSet],
    peaks: bool,
    memory: bool,
    enough: Callable[[Timed], bool] | None = None,
    progress: Progress,
) -> Timed:
    """Time rows in fresh processes until it is enough or the time is over.

    Args:
        rows: What to time.
        config: Threads, provider and longest time.
        images: Test images by size, to time with; golden or drawn ones take their place.
        peaks: Also measure the machine's peaks, in the same processes.
        memory: Also measure each row's memory, in processes of its own.
        enough: Whether what was seen decides the question; None asks for narrow ratios.
        progress: Shows the time that passes.

    Raises:
        InputError: A model cannot be run.
        MachineError: The machine lacks the cores, the provider, or memory.
        UnusableError: A model answers with NaN.
    """
    check_threads(config.threads)
    reasons = {
        row.key: f"made for {row.card.target}, whose arithmetic this CPU lacks"
        for row in rows
        if row.unsaturated
    }
    timed = [row for row in rows if row.key not in reasons]
    if not timed:
        return Timed(Measurement(), (), reasons)
    ask = enough or narrow
    # the int8 peak is a product of U8 and S8, which other providers need not have
    peaks = peaks and config.provider == runtime.CPU
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compress-")))
        jobs = _jobs(timed, images, folder)
        held: dict[str, int] = {}
        if memory:
            for job in jobs:
                result = run_process(
                    [job], threads=config.threads, provider=config.provider, seconds=None
                )
                held[job.name] = result.peak_bytes
        beside = [Job(RULER, str(roofline.RULER)), *(roofline.jobs() if peaks else ())]
        found = measure(
            [*jobs, *beside],
            threads=config.threads,
            provider=config.provider,
            max_seconds=config.max_seconds,
            enough=lambda measurement: ask(Timed(measurement, timed, reasons)),
            progress=progress,
        )
    return Timed(found, timed, reasons, held, roofline.peaks(found) if peaks else None)


def narrow(timed: Timed) -> bool:
    """Whether every row's ratio to the ruler is known closely."""
    return all(
        timed.measurement.ratio(row.key, RULER).relative_width <= NARROW for row in timed.rows
    )


def _jobs(rows: Sequence[Row], images: Mapping[int, ImageSet], folder: Path) -> list[Job]:
    """One job per row, with its inputs in files that rows of one kind share."""
    files: dict[str, str | None] = {}
    jobs = []
    for row in rows:
        card = row.card
        shape = f"{card.image_size} {card.channels}"
        kind = f"{card.input_layout} {shape} {card.mean} {card.std} {row.golden}"
        if kind not in files:
            inputs = _inputs(row, images.get(card.image_size))
            path = folder / f"{len(files)}.npy"
            if inputs is not None:
                np.save(path, inputs)
            files[kind] = None if inputs is None else str(path)
        jobs.append(Job(row.key, str(row.path), inputs=files[kind]))
    return jobs


def _inputs(row: Row, images: ImageSet | None) -> NDArray[Any] | None:
    """Real images as the model takes them; None where there are none."""
    card = row.card
    told = card.input_layout == "uint8-nhwc" or card.mean is not None
    if images is not None and told and images.channels == card.channels:
        chosen = np.linspace(0, images.count - 1, min(INPUTS, images.count)).round()
        return runtime.prepare(images.images[chosen.astype(np.int64)], card)
    return None if row.golden is None else load_golden(row.golden).inputs


def times(
    row: Row,
    timed: Timed,
    *,
    teacher: Row | None,
    fp32: Row | None,
    baseline: Row | None,
) -> dict[str, Any]:
    """The `Times` fields of one row.

    Args:
        row: Which.
        timed: The measurement.
        teacher: The row to compare with; None for the teacher itself.
        fp32: The float32 form of the same model; None for itself.
        baseline: The row of a baseline; None without one.
    """
    if row.key not in timed.keys:
        return {"not_timed": timed.reasons.get(row.key)}
    found, key = timed.measurement, row.key
    samples = found.samples(key)
    middle = found.percentile(key, 50)
    calls = np.concatenate([timing.calls_ms for timing in found.timings(key)])
    variation = found.variation(key)
    fields: dict[str, Any] = {
        "p10_ms": found.percentile(key, 10).value,
        "p50_ms": middle.value,
        "p50_low_ms": middle.low,
        "p50_high_ms": middle.high,
        "samples": samples,
        "processes": len(found.timings(key)),
        "variation": variation,
        "unstable": variation > UNSTABLE or samples < FEWEST_SAMPLES,
        "images_per_second": 1000 / float(calls.mean()),
        "load_ms": found.load_ms(key),
        "first_inference_ms": found.first_ms(key),
        "peak_memory_bytes": timed.peak_memory.get(key),
        "ruler_ratio": _ratio(found.ratio(key, RULER), RULER),
    }
    if samples >= FEWEST_SAMPLES:
        slow = found.percentile(key, 90)
        fields |= {
            "p90_ms": slow.value,
            "p90_low_ms": slow.low,
            "p90_high_ms": slow.high,
            "p99_ms": found.percentile(key, 99).value,
        }
    others = {"teacher_ratio": teacher, "fp32_ratio": fp32, "baseline_ratio": baseline}
    for name, other in others.items():
        if other is not None and other.key in timed.keys:
            fields[name] = _ratio(found.ratio(key, other.key), other.key)
    if teacher is not None and teacher.key in timed.keys:
        fields["speedup"] = found.percentile(teacher.key, 50).value / middle.value
    limit = _limit(row, timed.peaks)
    if limit is not None:
        fields |= {"limit_ms": limit, "limit_ratio": middle.value / limit}
    return fields


def _ratio(estimate: Estimate, to: str) -> Ratio:
    return Ratio(
        to=to,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        processes=estimate.processes,
    )


def _limit(row: Row, peaks: roofline.Peaks | None) -> float | None:
    """The least time a row could take, where its card tells its work."""
    card = row.card
    if peaks is None or card.macs is None or card.weight_bytes is None:
        return None
    moved = card.weight_bytes + (card.activation_bytes or 0)
    return peaks.limit_ms(macs=card.macs, bytes_moved=moved, precision=card.precision)


def peaks_record(peaks: roofline.Peaks) -> PeaksRecord:
    """The machine's peaks as the record holds them."""
    return PeaksRecord(
        fp32_gmacs_per_second=peaks.fp32 / 1e9,
        int8_gmacs_per_second=peaks.int8 / 1e9,
        bandwidth_gb_per_second={str(k): v / 1e9 for k, v in peaks.bandwidth.items()},
    )


def timing_notes(timed: Timed) -> list[str]:
    """A word for each row that was not timed, and a warning for each whose times mean little."""
    notes = [f"{key}: latency not measured here: {why}" for key, why in timed.reasons.items()]
    for row in timed.rows:
        samples = timed.measurement.samples(row.key)
        variation = timed.measurement.variation(row.key)
        if samples < FEWEST_SAMPLES:
            notes.append(
                f"{row.label}: only {samples} calls in the time given, too few for percentiles; "
                "raise --max-seconds"
            )
        elif variation > UNSTABLE:
            notes.append(
                f"{row.label}: unstable, coefficient of variation {variation:.0%}; "
                "is something else running?"
            )
    return notes
