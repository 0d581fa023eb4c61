"""`compress gate`: the figures of a bench judged by limits, with an exit code for CI."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compress.config.bench import host_and_python
from compress.config.gate import ACCURACY, TIMES, WITH_BASELINE, GateConfig
from compress.errors import ConfigError
from compress.measure.verdicts import UNDECIDED, Verdict, exit_code
from compress.progress import Progress, Silent
from compress.records.bench import BenchRecord
from compress.records.gate import Check, GateRecord, Outcome
from compress.stages import bench_rows, candidates, gate_rows, remote
from compress.stages.bench import Wanted, measure_rows
from compress.stages.bench_rows import Described, Row, is_renamed, students
from compress.stages.bench_times import FEWEST_SAMPLES
from compress.stages.gate_checks import judge, option
from compress.stages.gate_figures import Baseline

OUTCOMES: dict[int, Outcome] = {0: "pass", 1: "fail", UNDECIDED: "inconclusive"}
BASELINE = "baseline:"


def gate(
    config: GateConfig,
    *,
    progress: Progress = Silent(),  # noqa: B008 - it has no state
) -> GateRecord:
    """Judge an artifact, measured now, or the JSON of an earlier bench.

    Raises:
        ConfigError: A label or option is unknown, or the teacher is no model file.
        InputError: The target or the baseline is missing, damaged, or of another schema.
        MachineError: The machine lacks cores, the provider, memory, or the host.
        UnusableError: A model answers with NaN.
    """
    before = _read_baseline(config)
    if config.judges_record:
        record, checks = _judge_record(config, before, progress)
    elif config.on is not None and _names(config, TIMES, before):
        record, checks = _judge_elsewhere(config, config.on, before, progress)
    else:
        if config.on is not None:
            progress.note(f"nothing to measure on {config.on}: no limit is about times")
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

    def beside(self, target: Sequence[Described]) -> Baseline:
        """The baseline of a target, all of whose rows are given."""
        old: Sequence[Described] = self.rows if self.record is None else self.record.models
        return Baseline(self.record, renamed=is_renamed(target, old), rows=tuple(old))


def _read_baseline(config: GateConfig) -> _Before | None:
    if config.baseline is None:
        return None
    if config.baseline_is_record:
        return _Before(record=BenchRecord.read(Path(config.baseline.target)))
    rows, _ = bench_rows.collect([config.baseline])
    return _Before(
        rows=tuple(replace(row, group=BASELINE) for row in rows if row.role != "teacher")
    )


def _names(config: GateConfig, among: Sequence[str], before: _Before | None) -> list[str]:
    """The thresholds of some kind that are set and can be judged: a regression has a baseline."""
    possible = [name for name in among if before is not None or name not in WITH_BASELINE]
    return [name for name in config.thresholds if name in possible]


class _Judge:
    """Applies the limits to a record as often as it grows.

    Args:
        config: The limits.
        forms: Every form of the target that may be judged.
        baseline: What to compare with; None without one.

    Raises:
        ConfigError: A label is not among the forms.
    """

    def __init__(
        self, config: GateConfig, forms: Sequence[gate_rows.Form], baseline: Baseline | None
    ) -> None:
        self._config, self._baseline, self._forms = config, baseline, forms
        self._judged = gate_rows.judged(config, forms)
        self._absent = gate_rows.absent(config, forms)

    @property
    def missing(self) -> list[str]:
        """Labels of the forms that were asked for and are not there."""
        return [f"{name} {precision}" for name, precision in self._absent]

    def tell_what_is_lost(self, progress: Progress) -> None:
        """Note what the baseline has and the target has not, where no check says so."""
        before, limits = self._baseline, self._config.thresholds
        if before is None or limits.keys().isdisjoint(WITH_BASELINE):
            return
        old = students(before.rows)
        for form in gate_rows.lost(self._config, self._forms, old, renamed=before.renamed):
            if form not in self._absent:
                name = f"{form[0]} {form[1]}"
                progress.note(
                    f"the baseline has {name} and {self._config.target} has not: it is not judged"
                )

    def checks(self, record: BenchRecord, names: Sequence[str] | None = None) -> list[Check]:
        """The checks of some thresholds, or of all."""
        models = [
            model
            for model in record.models
            if model.role != "teacher" and (model.name, model.precision) in self._judged
        ]
        return judge(
            self._config, record, models, baseline=self._baseline, absent=self._absent, names=names
        )

    def decided(self, record: BenchRecord) -> bool:
        """Whether measuring longer would change no verdict."""
        few = any(0 < model.samples < FEWEST_SAMPLES for model in record.models)
        return not any(
            check.outcome == "inconclusive" and (few or check.value is not None)
            for check in self.checks(record, TIMES)
        )


def _judge_record(
    config: GateConfig, before: _Before | None, progress: Progress
) -> tuple[BenchRecord, list[Check]]:
    """Judge an earlier bench by its own figures and intervals.

    Its times are those of the machine that made it, or of the one that `--on` names.
    """
    record = BenchRecord.read(Path(config.target.target))
    baseline = None if before is None else before.beside(record.models)
    judging = _Judge(config, students(record.models), baseline)
    judging.tell_what_is_lost(progress)
    limits = _names(config, TIMES, before)
    if not limits:
        if config.on is not None:
            progress.note(f"no times of {config.on} are judged")
        return record, judging.checks(record)
    if config.on is None:
        if record.hosts:
            others = ", ".join(host.host for host in record.hosts)
            progress.note(
                f"{config.target}: times of {record.environment.cpu}, which made it, are judged, "
                f"and not those of {others}: --on judges these"
            )
        return record, judging.checks(record)
    name, _ = host_and_python(config.on)
    there = record.on(name)
    if baseline is not None and baseline.record is not None:
        old = baseline.record
        if any(host.host == name for host in old.hosts):
            old = old.on(name)
        baseline = replace(baseline, record=old)
    times = _Judge(config, students(there.models), baseline).checks(there, limits)
    here = judging.checks(record, [name for name in config.thresholds if name not in limits])
    return record, [*here, *(_on(name, check) for check in times)]


def _on(
    host: str,
    check: Check,
    labels: Mapping[str, str] | None = None,
    places: Mapping[str, str] | None = None,
) -> Check:
    """A check of times on another machine, with the names that models have here.

    Args:
        host: The machine.
        check: As it was made there, or from times of it.
        labels: Of the rows here, by their labels there.
        places: Names here, by the folders that stand for them there.
    """
    known, named = labels or {}, places or {}

    def name(found: re.Match[str]) -> str:
        place, inside = found[1], found[2] or ""
        own = named.get(place, place)
        return own if own.endswith(inside) else own + inside  # there it was told from another

    def here(text: str) -> str:
        return re.sub(r"(model-\d+)(/\S+)?", name, text)

    return check.model_copy(
        update={
            "row": known.get(check.row, check.row),
            "against": known.get(check.against, here(check.against)),
            "reason": f"on {host}: {here(check.reason)}",
        }
    )


def _collect(config: GateConfig, progress: Progress) -> list[Row]:
    """The rows of the target and its teacher."""
    if config.teacher is not None and candidates.is_made(config.teacher):
        raise ConfigError(
            f"--teacher {config.teacher} is no model file",
            hint="`compress export` it, and name the artifact; bench takes weights and model names",
        )
    rows, notes = bench_rows.collect([config.target], teacher=config.teacher)
    for note in notes:
        progress.note(note)
    return rows


def _judge_here(
    config: GateConfig, before: _Before | None, progress: Progress
) -> tuple[BenchRecord, list[Check]]:
    """Measure on this machine, as long as it takes to decide.

    Times that are compared with a record are measured as a bench measures them: the same rows and
    peaks beside each other, with the same inputs.
    """
    rows = _collect(config, progress)
    old = None if before is None else before.record
    baseline = None if before is None else before.beside(rows)
    renamed = baseline is not None and baseline.renamed
    judging = _Judge(config, students(rows), baseline)
    judging.tell_what_is_lost(progress)
    like_bench = old is not None and "max_latency_regression" in config.thresholds
    needed = gate_rows.needed(config, rows, everything=like_bench)
    times = bool(_names(config, TIMES, before))
    record = measure_rows(
        needed,
        config,
        Wanted(
            answers=bool(_names(config, ACCURACY, before)),
            times=times,
            inputs=like_bench or (times and config.data is not None),
            peaks=like_bench and old is not None and old.peaks is not None,
            memory=False,
            enough=judging.decided,
        ),
        baseline=gate_rows.compared(
            config, needed, () if before is None else before.rows, renamed=renamed
        ),
        renamed=renamed,
        progress=progress,
    )
    return record, judging.checks(record)


def _judge_elsewhere(
    config: GateConfig, host: str, before: _Before | None, progress: Progress
) -> tuple[BenchRecord, list[Check]]:
    """Judge the times on another machine, and everything else here."""
    rows = _collect(config, progress)
    baseline = None if before is None else before.beside(rows)
    renamed = baseline is not None and baseline.renamed
    judging = _Judge(config, students(rows), baseline)
    needed = gate_rows.needed(config, rows, everything=False)
    old = gate_rows.compared(config, needed, () if before is None else before.rows, renamed=renamed)
    limits = _names(config, TIMES, before if old else None)
    if not needed or not limits:
        return _judge_here(config, before, progress)
    judging.tell_what_is_lost(progress)
    there, places = _gate_there(config, host, limits, needed, old, progress)
    name, _ = host_and_python(host)
    labels = {
        model.label: next((row.label for row in needed if row.sha256 == model.sha256), model.label)
        for model in there.bench.models
    }
    times = [
        _on(name, check, labels, places)
        for check in there.checks
        if check.row in labels or not check.row
    ]
    record = measure_rows(
        needed,
        config,
        Wanted(answers=bool(_names(config, ACCURACY, before)), times=False),
        baseline=old,
        renamed=renamed,
        progress=progress,
    )
    # forms that are not here are not there either: they are named as they are called here
    lacking = [check for check in judging.checks(record, limits) if check.row in judging.missing]
    here = judging.checks(record, [name for name in config.thresholds if name not in limits])
    hosts = (remote.host_times(name, needed, there.bench),)
    return record.model_copy(update={"hosts": hosts}), [*here, *times, *lacking]


def _gate_there(
    config: GateConfig,
    host: str,
    limits: Sequence[str],
    rows: Sequence[Row],
    baseline: Sequence[Row],
    progress: Progress,
) -> tuple[GateRecord, dict[str, str]]:
    """What a gate of the times says on another machine, and names here by folders there."""
    with remote.connected(host, progress) as connection:
        groups, named = remote.grouped(rows)
        arguments = ["gate", *named, *remote.machine_options(config)]
        if baseline:
            groups["baseline"] = baseline
            arguments += ["--baseline", "baseline"]
        for name in limits:
            arguments += [f"--{option(name)}", str(config.thresholds[name])]
        arguments += ["--latency-reference", config.latency_reference]
        if config.precision:
            arguments += ["--precision", ",".join(config.precision)]
        remote.send(connection, groups)
        data = connection.compress(arguments, accepted=(0, 1, UNDECIDED))
    record = GateRecord.from_data(data, source=f"the record from {host}")
    return record, remote.places_of(groups)
