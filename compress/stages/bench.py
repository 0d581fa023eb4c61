"""`compress bench`: size, latency and accuracy of model files side by side."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compress import runtime
from compress.config.bench import BenchConfig, MeasuringConfig
from compress.environment import nvidia_names, read_environment
from compress.errors import ConfigError
from compress.files import sha256_file
from compress.measure import roofline
from compress.progress import Progress, Silent
from compress.records.bench import BenchModel, BenchRecord
from compress.stages import bench_answers, bench_images, bench_rows, bench_times, candidates, remote
from compress.stages.bench_answers import Answers
from compress.stages.bench_images import AskedImages
from compress.stages.bench_rows import Row, counterpart, float_form
from compress.stages.bench_times import Timed


@dataclass(frozen=True)
class Wanted:
    """Which figures a bench is needed for.

    Attributes:
        answers: Accuracy and agreement.
        times: Latency.
        inputs: Time with test images even where no row is asked about them.
        peaks: With the times, the machine's peaks.
        memory: With the times, the memory of every row.
        per_class: Accuracy of every class.
        enough: When the times decide; None is when their ratios are narrow.
    """

    answers: bool = True
    times: bool = True
    inputs: bool = False
    peaks: bool = True
    memory: bool = True
    per_class: bool = False
    enough: Callable[[BenchRecord], bool] | None = None


def bench(
    config: BenchConfig,
    *,
    progress: Progress = Silent(),  # noqa: B008 - it has no state
) -> BenchRecord:
    """Measure what a configuration names.

    Raises:
        ConfigError: A target's option, a candidate or the data is unknown.
        InputError: A target or the images named are missing or damaged, or have the wrong size
            and `strict`.
        MachineError: The machine lacks cores, the provider, memory, a package, or the host.
        UnusableError: A model answers with NaN.
    """
    with candidates.exported(config, progress) as made:
        rows, notes = bench_rows.collect([*config.targets, *made.candidates], teacher=made.teacher)
        rows = [replace(row, untrained=row.path.parent in made.untrained) for row in rows]
        rows, too_large = _small_enough(rows, config.max_size_kib)
        for note in (*notes, *made.notes, *too_large):
            progress.note(note)
        if not any(row.role != "teacher" for row in rows) and too_large:
            raise ConfigError(
                f"every model is larger than --max-size-kib {config.max_size_kib:g}",
                hint="allow more, or choose smaller candidates",
            )
        wanted = Wanted(answers=bool(config.targets), per_class=config.per_class)
        if config.on is None:
            record = measure_rows(rows, config, wanted, progress=progress)
        else:
            # a host that cannot be reached is said before anything is measured here
            with remote.connected(config.on, progress) as connection:
                record = measure_rows(rows, config, wanted, progress=progress)
                times = remote.time_on(connection, rows, config)
            record = record.model_copy(update={"hosts": (times,)})
    if config.student:
        record = _ranked(record)
    return record.model_copy(update={"notes": (*notes, *made.notes, *too_large, *record.notes)})


def measure_rows(
    rows: Sequence[Row],
    config: MeasuringConfig,
    wanted: Wanted,
    *,
    baseline: Sequence[Row] = (),
    renamed: bool = False,
    progress: Progress,
) -> BenchRecord:
    """Measure rows, and those of a baseline beside them.

    Args:
        rows: What the record is about.
        config: How to measure.
        wanted: What to measure.
        baseline: Rows that appear in the ratios and differences of `rows` only.
        renamed: As in `counterpart`.
        progress: Shows what is going on.

    Raises:
        ConfigError: The data a user named is unknown.
        InputError: A model cannot be run, the images a user named are missing or damaged, or have
            the wrong size and `strict`.
        MachineError: The machine lacks cores, the provider, or memory.
        UnusableError: A model answers with NaN.
    """
    begin = time.monotonic()
    bench_images.check_named(config)
    everything = [*rows, *baseline]
    partners = {row.key: _partners(row, rows, baseline, renamed=renamed) for row in everything}
    images = AskedImages(reason="not asked for")
    answers = Answers()
    notes: list[str] = []
    size = next((row.card.image_size for row in rows if row.role != "teacher"), 0)
    if wanted.answers or wanted.inputs:
        images = bench_images.load_images(everything, config, progress)
    if wanted.answers:
        notes += bench_images.missing_notes(images, size)
        for note in notes:
            progress.note(note)
        answers = bench_answers.ask(everything, images, provider=config.provider, progress=progress)
        if images.name is not None:
            data = images.record(size)
            unjudged = [
                f"{key}: {reason}"
                for key, reason in answers.reasons.items()
                # that the images have no labels is said once
                if data is None or data.labelled or key not in answers.logits
            ]
            unsaturated = [
                f"{row.key}: accuracy of a run without saturation, as {row.card.target} computes"
                for row in everything
                if row.unsaturated and row.key in answers.logits
            ]
            for note in (said := [*unjudged, *answers.notes, *unsaturated]):
                progress.note(note)
            notes += said
    qualities = {
        row.key: bench_answers.quality(
            row, answers, images, per_class=wanted.per_class, **partners[row.key]
        )
        for row in rows
    }

    def record(timed: Timed | None) -> BenchRecord:
        models = [
            _model(
                row,
                qualities[row.key],
                {} if timed is None else bench_times.times(row, timed, **partners[row.key]),
            )
            for row in rows
        ]
        peaks = None if timed is None else timed.peaks
        other = nvidia_names() if config.provider in runtime.NVIDIA else None
        return BenchRecord(
            models=tuple(models),
            data=images.record(size),
            provider=config.provider,
            threads=config.threads,
            processes=0 if timed is None else timed.measurement.processes,
            peaks=None if peaks is None else bench_times.peaks_record(peaks),
            ruler_sha256=sha256_file(roofline.RULER),
            notes=tuple(notes),
            seconds=time.monotonic() - begin,
            environment=read_environment(accelerator=other),
        )

    if not wanted.times:
        return record(None)
    enough = wanted.enough
    timed = bench_times.time_rows(
        everything,
        config,
        images=images.of_size,
        peaks=wanted.peaks,
        memory=wanted.memory,
        enough=None if enough is None else lambda seen: enough(record(seen)),
        progress=progress,
    )
    for note in (said := bench_times.timing_notes(timed)):
        progress.note(note)
    notes += said
    return record(timed)


def _partners(
    row: Row, rows: Sequence[Row], baseline: Sequence[Row], *, renamed: bool
) -> dict[str, Row | None]:
    """What a row is compared with: the teacher, its own float form, its row in the baseline."""
    teacher = next((other for other in rows if other.role == "teacher"), None)
    family = baseline if row.group else rows
    fp32 = float_form(row, family)
    judged = not row.group and row.role != "teacher"
    same = counterpart(row, baseline, renamed=renamed) if judged else None
    return {
        "teacher": None if row.role == "teacher" else teacher,
        "fp32": None if fp32 is row else fp32,
        "baseline": same,
    }


def _model(row: Row, quality: dict[str, Any], times: dict[str, Any]) -> BenchModel:
    return BenchModel(
        name=row.name,
        role=row.role,
        precision=row.precision,
        target=row.card.target,
        sha256=row.sha256,
        size_bytes=row.path.stat().st_size,
        parameters=row.card.parameters,
        macs=row.card.macs,
        **quality,
        **times,
    )


def _small_enough(rows: list[Row], limit: float | None) -> tuple[list[Row], list[str]]:
    """The rows without files above a limit in KiB, and what is said about those left out."""
    if limit is None:
        return rows, []
    kept, notes = [], []
    for row in rows:
        size = row.path.stat().st_size / 1024
        if row.role == "teacher" or size <= limit:
            kept.append(row)
        else:
            notes.append(f"{row.label}: {size:.0f} KiB, above --max-size-kib {limit:g}")
    return kept, notes


def _ranked(record: BenchRecord) -> BenchRecord:
    """Rows by latency where they will run, then size, then MACs; the teacher stays first."""
    there = {(row.name, row.precision): row.p50_ms for host in record.hosts for row in host.rows}

    def order(model: BenchModel) -> tuple[bool, float, int, int]:
        latency = there.get((model.name, model.precision), model.p50_ms)
        return (
            model.role != "teacher",
            float("inf") if latency is None else latency,
            model.size_bytes,
            model.macs or 0,
        )

    return record.model_copy(update={"models": tuple(sorted(record.models, key=order))})
