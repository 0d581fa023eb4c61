"""`compress gate`: the figures of a bench judged by limits, with an exit code for CI."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compress.config.gate import ACCURACY, TIMES, GateConfig
from compress.config.specs import Reference
from compress.errors import ConfigError, InputError, unknown
from compress.measure.verdicts import UNDECIDED, Verdict, exit_code
from compress.progress import Progress, Silent
from compress.records.bench import BenchModel, BenchRecord
from compress.records.gate import Check, GateRecord, Outcome
from compress.stages import bench_rows, remote
from compress.stages.bench import Wanted, measure_rows
from compress.stages.bench_rows import Row
from compress.stages.bench_times import FEWEST_SAMPLES
from compress.stages.gate_checks import judge, option
from compress.stages.gate_figures import Baseline

RECORD_SUFFIX = ".json"
OUTCOMES: dict[int, Outcome] = {0: "pass", 1: "fail", UNDECIDED: "inconclusive"}
BASELINE = "baseline:"
WITHOUT_BASELINE = tuple(name for name in TIMES if name != "max_latency_regression")


def gate(
    config: GateConfig,
    *,
    progress: Progress = Silent(),  # noqa: B008 - it has no state
) -> GateRecord:
    """Judge an artifact, measured now, or the JSON of an earlier bench.

    Raises:
        ConfigError: A label or option is unknown.
        InputError: The target or the baseline is missing, damaged, or of another schema.
        MachineError: The machine lacks cores, the provider, memory, or the host.
        UnusableError: A model answers with NaN.
    """
    before = _read_baseline(config.baseline)
    if config.target.target.endswith(RECORD_SUFFIX):
        record, checks = _judge_record(config, before)
    elif config.on is not None and _names(config, TIMES):
        record, checks = _judge_elsewhere(config, before, progress)
    else:
        record, checks = _judge_here(config, before, progress)
    verdicts = [Verdict(check.outcome) for check in checks]
    code = exit_code(verdicts, inconclusive=config.inconclusive)
    return GateRecord(
        outcome=OUTCOMES[code],
        exit_code=code,
        target=str(config.target),
        baseline=None if config.baseline is None else str(config.baseline),
        checks=tuple(checks),
        bench=record,
    )


@dataclass(frozen=True)
class _Before:
    """A baseline as named: a record, or rows to measure."""

    record: BenchRecord | None = None
    rows: tuple[Row, ...] = ()


def _read_baseline(reference: Reference | None) -> _Before | None:
    if reference is None:
        return None
    if reference.target.endswith(RECORD_SUFFIX):
        return _Before(record=BenchRecord.read(Path(reference.target)))
    rows, _ = bench_rows.collect([reference])
    return _Before(
        rows=tuple(replace(row, group=BASELINE) for row in rows if row.role != "teacher")
    )


def _names(config: GateConfig, among: Sequence[str]) -> list[str]:
    """The thresholds that are set, of some kind."""
    return [name for name in config.thresholds if name in among]


def _judge_record(config: GateConfig, before: _Before | None) -> tuple[BenchRecord, list[Check]]:
    """Judge an earlier bench by its own figures and intervals."""
    if before is not None and before.record is None:
        raise ConfigError(
            f"{config.target} is a record and {config.baseline} is not",
            hint="give both as records, or both as artifacts (measured beside each other)",
        )
    if config.on is not None or config.teacher is not None:
        raise ConfigError(
            f"--on and --teacher have no meaning for the record {config.target}",
            hint="give an artifact, which is measured",
        )
    record = BenchRecord.read(Path(config.target.target))
    models = _chosen(config, record.models)
    baseline = None if before is None else Baseline(before.record)
    return record, judge(config, record, models, baseline=baseline)


def _judge_here(
    config: GateConfig, before: _Before | None, progress: Progress
) -> tuple[BenchRecord, list[Check]]:
    """Measure on this machine, as long as it takes to decide."""
    rows, notes = bench_rows.collect([config.target], teacher=config.teacher)
    for note in notes:
        progress.note(note)
    baseline = None if before is None else Baseline(before.record)

    def checks(record: BenchRecord, names: Sequence[str] | None = None) -> list[Check]:
        models = _chosen(config, record.models)
        return judge(config, record, models, baseline=baseline, names=names)

    def decided(record: BenchRecord) -> bool:
        """Whether measuring longer would change no verdict."""
        few = any(0 < model.samples < FEWEST_SAMPLES for model in record.models)
        return not any(
            check.outcome == "inconclusive" and (few or check.value is not None)
            for check in checks(record, TIMES)
        )

    needed, old = _needed(config, rows, () if before is None else before.rows)
    record = measure_rows(
        needed,
        config,
        Wanted(
            answers=bool(_names(config, ACCURACY)),
            times=bool(_names(config, TIMES if before is not None else WITHOUT_BASELINE)),
            whole=False,
            enough=decided,
        ),
        baseline=old,
        progress=progress,
    )
    return record, checks(record)


def _needed(
    config: GateConfig, rows: Sequence[Row], baseline: Sequence[Row]
) -> tuple[list[Row], list[Row]]:
    """The rows that are judged, and those they are compared with."""
    judged = [
        row
        for row in rows
        if row.role != "teacher"
        and (not config.student or row.name in config.student)
        and (not config.precision or row.precision in config.precision)
    ]
    if not judged:
        _chosen_names(config, [row.name for row in rows if row.role != "teacher"])
        return [], []
    names = {row.name for row in judged}
    kept = [
        row
        for row in rows
        if row in judged or row.role == "teacher" or (row.name in names and row.precision == "fp32")
    ]
    precisions = {row.precision for row in judged}
    return kept, [row for row in baseline if row.precision in precisions]


def _chosen(config: GateConfig, models: Sequence[BenchModel]) -> list[BenchModel]:
    """The rows to judge: every one but the teacher's, narrowed by label and precision."""
    students = [model for model in models if model.role != "teacher"]
    _chosen_names(config, [model.name for model in students])
    return [
        model
        for model in students
        if (not config.student or model.name in config.student)
        and (not config.precision or model.precision in config.precision)
    ]


def _chosen_names(config: GateConfig, names: Sequence[str]) -> None:
    """Refuse a label that is not there.

    Raises:
        ConfigError: With the labels that are.
    """
    for name in config.student:
        if name not in names:
            raise unknown("student", name, sorted(set(names)))


def _judge_elsewhere(
    config: GateConfig, before: _Before | None, progress: Progress
) -> tuple[BenchRecord, list[Check]]:
    """Judge the times on another machine, and everything else here."""
    host = config.on or ""
    rows, notes = bench_rows.collect([config.target], teacher=config.teacher)
    for note in notes:
        progress.note(note)
    needed, old = _needed(config, rows, () if before is None else before.rows)
    with remote.connected(host, progress) as connection:
        groups, named = remote.grouped(needed)
        arguments = ["gate", *named, *remote.machine_options(config)]
        if before is not None and before.record is None:
            groups["baseline"] = old
            arguments += ["--baseline", "baseline"]
        if before is not None and before.record is not None:
            raise InputError(
                f"--baseline {config.baseline} is a record, and --on {host} measures there",
                hint="give the baseline as an artifact: both are measured beside each other there",
            )
        for name in _names(config, TIMES):
            arguments += [f"--{option(name)}", str(config.thresholds[name])]
        arguments += ["--latency-reference", config.latency_reference]
        if config.precision:
            arguments += ["--precision", ",".join(config.precision)]
        remote.send(connection, groups)
        data = connection.compress(arguments, accepted=(0, 1, UNDECIDED))
    there = GateRecord.from_data(data, source=f"the record from {host}")
    labels = {
        model.label: next((row.label for row in needed if row.sha256 == model.sha256), model.label)
        for model in there.bench.models
    }
    times = [
        check.model_copy(
            update={
                "row": labels.get(check.row, check.row),
                "against": labels.get(check.against, check.against),
                "reason": f"on {host}: {check.reason}",
            }
        )
        for check in there.checks
    ]
    rest = [name for name in config.thresholds if name not in TIMES]
    record = measure_rows(
        needed,
        config,
        Wanted(answers=bool(_names(config, ACCURACY)), times=False, whole=False),
        baseline=old,
        progress=progress,
    )
    baseline = None if before is None else Baseline()
    here = judge(config, record, _chosen(config, record.models), baseline=baseline, names=rest)
    hosts = (remote.host_times(host, needed, there.bench),)
    return record.model_copy(update={"hosts": hosts}), [*here, *times]
