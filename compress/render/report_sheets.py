"""The tables of a report, before they become HTML or Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from compress.records.distill import DistillRecord, StudentRow
from compress.records.families import families
from compress.records.report import Answers, RunReport
from compress.render.gains import ONE_SEED, gain_of_ensemble, gain_of_row, gain_over_seeds
from compress.render.numbers import (
    ABSENT,
    amount,
    duration,
    mean_and_sd,
    percent,
    percent_range,
    points,
    seeds,
)
from compress.render.report_data import by_data
from compress.render.tables.distill import in_order, teacher_range
from compress.render.tables.distill import notes as distill_notes
from compress.render.tables.train import NOTES as TRAIN_NOTES

MOST_CHANGED = 12
"""Rows of the short table of classes; the long one holds all."""
SAMPLES_TITLE = "Where teacher and student differ"
SAMPLES_NOTE = "The most confident mistakes first."


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        title: Above it.
        heads: Column heads; the first column holds names.
        rows: Cells of plain text, as many as heads.
        note: Below it.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def accuracy(run: RunReport) -> Sheet:
    """How often teacher, students and controls are right."""
    result = run.result
    heads = ("model", "test top-1, % (95%)", "last epoch", "validation", "training")
    if not isinstance(result, DistillRecord):
        rows = tuple((row.label, *_accuracies(row)) for row in run.rows)
        return Sheet("Accuracy", heads, rows, TRAIN_NOTES)
    teacher = (
        f"{result.teacher.name} (teacher)",
        f"{percent(result.teacher.top1)} ({percent_range(*teacher_range(result))})",
        ABSENT,
        percent(result.teacher.val_top1),
        percent(result.teacher.train_top1),
        *[ABSENT] * 2,
    )
    students = (
        (
            _name(row),
            *_accuracies(row),
            str(gain_of_row(row, alone=result.one_seed)),
            percent(row.agreement),
        )
        for row in in_order(run.rows)
    )
    taught = ("KD gain, points (95%)", "agreement, %")
    return Sheet("Accuracy", (*heads, *taught), (teacher, *students), distill_notes(result))


def _accuracies(row: StudentRow) -> tuple[str, str, str, str]:
    return (
        f"{percent(row.top1)} ({percent_range(row.top1_low, row.top1_high)})",
        percent(row.last_top1),
        percent(row.val_top1),
        percent(row.train_top1),
    )


def _name(row: StudentRow) -> str:
    return f"{row.label} (no KD)" if row.role == "control" else row.label


def cost(run: RunReport) -> Sheet:
    """What the models cost, and how far their confidence can be trusted."""
    heads = ("model", "parameters", "MACs", "ECE, %", "NLL, nats", "best epoch", "time")
    rows: list[tuple[str, ...]] = []
    distilled = isinstance(run.result, DistillRecord)
    if isinstance(run.result, DistillRecord):
        teacher = run.result.teacher
        rows.append(
            (
                f"{teacher.name} (teacher)",
                amount(teacher.parameters),
                amount(teacher.macs),
                percent(teacher.ece),
                ABSENT,
                ABSENT,
                duration(teacher.seconds),
            )
        )
    rows += [
        (
            _name(row) if distilled else row.label,
            amount(row.parameters),
            amount(row.macs),
            percent(row.ece),
            f"{row.nll:.3f}",
            str(row.selected_epoch),
            duration(row.seconds),
        )
        for row in in_order(run.rows)
    ]
    note = (
        "ECE: expected calibration error, 15 bins. NLL: mean negative log-likelihood. Time: own "
        "training and evaluation" + ("; for the teacher, its forward passes." if distilled else ".")
    )
    return Sheet("Calibration and cost", heads, tuple(rows), note)


def over_seeds(run: RunReport) -> Sheet | None:
    """Means and standard deviations over seeds, where there are several."""
    if not run.result.summary:
        return None
    return Sheet(
        "Over seeds",
        ("model", "seeds", "test top-1, % mean ± sd", "last epoch", "mean KD gain, points (95%)"),
        tuple(
            (
                one.label,
                str(one.seeds),
                mean_and_sd(one.top1_mean, one.top1_sd),
                mean_and_sd(one.last_top1_mean, one.last_top1_sd),
                str(gain_over_seeds(one)),
            )
            for one in run.result.summary
        ),
    )


def ensembles(run: RunReport) -> Sheet | None:
    """Averages of students, where the run made some."""
    if not isinstance(run.result, DistillRecord) or not run.result.ensembles:
        return None
    return Sheet(
        "Ensembles",
        ("average of", "members", "test top-1, % (95%)", "members' mean", "gain, points (95%)"),
        tuple(
            (
                one.label,
                str(one.members),
                f"{percent(one.top1)} ({percent_range(one.top1_low, one.top1_high)})",
                percent(one.mean_member_top1),
                str(gain_of_ensemble(one)),
            )
            for one in run.result.ensembles
        ),
    )


def class_changes(answers: Answers) -> tuple[Sheet, bool]:
    """Per-class accuracy, the biggest changes from the teacher first.

    Returns:
        The table with all classes, and whether it is longer than a reader wants at first.
    """
    taught = [one for one in answers.classes if one.teacher_top1 is not None]
    long = len(answers.classes) > MOST_CHANGED
    if not taught:
        lowest = sorted(answers.classes, key=lambda one: one.top1)
        alone = tuple((one.name, str(one.images), percent(one.top1, 1)) for one in lowest)
        return Sheet("Accuracy by class", ("class", "images", "top-1, %"), alone), long
    ordered = sorted(taught, key=lambda one: one.top1 - (one.teacher_top1 or 0.0))
    rows = tuple(
        (
            one.name,
            str(one.images),
            percent(one.teacher_top1, 1),
            percent(one.top1, 1),
            points(one.top1 - (one.teacher_top1 or 0.0), 1),
            str(one.lost),
            str(one.won),
        )
        for one in ordered
    )
    heads = ("class", "images", "teacher, %", "student, %", "change", "lost", "won")
    note = "lost: images only the teacher gets right; won: only the student."
    return Sheet("Changes by class", heads, rows, note), long


def provenance(run: RunReport) -> list[Sheet]:
    """Where the numbers come from: inputs, automatic choices, machine."""
    environment = run.result.environment
    facts = [
        ("processor", environment.cpu),
        ("instruction sets", ", ".join(environment.instruction_sets) or ABSENT),
        ("cores", str(environment.cores)),
        ("accelerator", environment.accelerator or ABSENT),
        ("system", f"{environment.system}, Python {environment.python}"),
        ("packages", ", ".join(f"{k} {v}" for k, v in sorted(environment.packages.items()))),
    ]
    sheets = [
        Sheet(
            "Inputs",
            ("input", "source", "sha256"),
            tuple((name, one.source, one.sha256) for name, one in run.inputs.items()),
        ),
        Sheet("Chosen automatically", ("what", "choice"), tuple(run.choices.items())),
        Sheet("Machine", ("what", "value"), tuple(facts)),
    ]
    return [sheet for sheet in sheets if sheet.rows]


def comparison(runs: Sequence[RunReport]) -> Sheet:
    """The students of several runs below each other; means where a run has several seeds."""
    heads = ("run: model", "data", "test top-1, %", "KD gain, points (95%)", "parameters", "MACs")
    data = {number: shared.data for shared in by_data(runs) for number, _ in shared.runs}
    rows = tuple(
        (f"{number}: {cells[0]}", data[number], *cells[1:])
        for number, run in enumerate(runs, start=1)
        for cells in _compared(run)
    )
    note = "Ranges are 95% intervals; ± is one sd over seeds."
    if any(row.kd_gain is not None for run in runs if not run.result.summary for row in run.rows):
        note += f"\n{ONE_SEED}."
    return Sheet("All runs", heads, rows, note)


def _compared(run: RunReport) -> list[tuple[str, str, str, str, str]]:
    """Name, accuracy, gain, parameters and MACs of each kind of model in a run."""
    if not run.result.summary:
        return [
            (
                row.label,
                f"{percent(row.top1)} ({percent_range(row.top1_low, row.top1_high)})",
                str(gain_of_row(row, alone=run.one_seed)),
                amount(row.parameters),
                amount(row.macs),
            )
            for row in in_order(run.rows)
        ]
    names = families(run.rows)
    firsts = {names[row.label]: row for row in reversed(run.rows)}
    return [
        (
            one.label,
            f"{mean_and_sd(one.top1_mean, one.top1_sd)} ({seeds(one.seeds)})",
            str(gain_over_seeds(one)),
            amount(firsts[one.label].parameters),
            amount(firsts[one.label].macs),
        )
        for one in run.result.summary
        if one.label in firsts
    ]
