"""The tables of a report, before they become HTML or Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compress.records.distill import DistillRecord, StudentRow
from compress.records.families import families
from compress.records.report import Answers, ClassRow, RunReport
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
from compress.render.tables.train import notes as train_notes

MOST_CHANGED = 12
"""Rows of the short table of classes; the long one holds all."""
KD_GAIN = "KD gain, points (95%)"
MEAN_KD_GAIN = f"mean {KD_GAIN}"
NUMBER = "no."
NUMBER_NOTE = f"{NUMBER}: what the class is called in a confusion without names."
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
        words: How many columns from the left hold words, not numbers; at least that of names.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    words: int = 1


def accuracy(run: RunReport) -> Sheet:
    """How often teacher, students and controls are right."""
    result = run.result
    heads: tuple[str, ...]
    heads = ("model", "test top-1, % (95%)", "last epoch", "validation", "training")
    if not isinstance(result, DistillRecord):
        rows = tuple((row.label, *_accuracies(row)) for row in run.rows)
        return Sheet("Accuracy", heads, rows, train_notes(result))
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
    heads = (*heads, KD_GAIN, "agreement, %")
    sheet = Sheet("Accuracy", heads, (teacher, *students), distill_notes(result))
    return _where_said(sheet, KD_GAIN)


def _where_said(sheet: Sheet, head: str) -> Sheet:
    """The table, without the column of that head if no row has anything in it."""
    place = sheet.heads.index(head)
    said = any(row[place] != ABSENT for row in sheet.rows)
    return sheet if said else _without(sheet, head)


def _without(sheet: Sheet, head: str) -> Sheet:
    place = sheet.heads.index(head)
    heads, *rows = ((*row[:place], *row[place + 1 :]) for row in (sheet.heads, *sheet.rows))
    return replace(sheet, heads=heads, rows=tuple(rows))


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
    heads = ("model", "parameters", "MACs", "ECE, %", "NLL, nats", "kept epoch", "time")
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
    sheet = Sheet(
        "Over seeds",
        ("model", "seeds", "test top-1, % mean ± sd", "last epoch", MEAN_KD_GAIN),
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
    return _where_said(sheet, MEAN_KD_GAIN)


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
    long = len(answers.classes) > MOST_CHANGED
    sheet = _by_class(answers)
    if all(one.name == str(n) for n, one in enumerate(answers.classes)):
        return _without(sheet, NUMBER), long
    return replace(sheet, note=f"{sheet.note}\n{NUMBER_NOTE}".strip()), long


def _by_class(answers: Answers) -> Sheet:
    taught = [n for n, one in enumerate(answers.classes) if one.teacher_top1 is not None]
    heads: tuple[str, ...] = ("class", "most often taken for", NUMBER, "images")
    if not taught:
        lowest = sorted(range(len(answers.classes)), key=lambda n: answers.classes[n].top1)
        alone = tuple(
            (*_class_cells(n, answers), percent(answers.classes[n].top1, 1)) for n in lowest
        )
        return Sheet("Accuracy by class", (*heads, "top-1, %"), alone, words=2)
    changes = {n: _change(answers.classes[n]) for n in taught}
    rows = tuple(
        (
            *_class_cells(n, answers),
            percent(answers.classes[n].teacher_top1, 1),
            percent(answers.classes[n].top1, 1),
            points(changes[n], 1),
            str(answers.classes[n].lost),
            str(answers.classes[n].won),
        )
        for n in sorted(taught, key=changes.__getitem__)
    )
    heads = (*heads, "teacher, %", "student, %", "change", "lost", "won")
    note = "lost: images only the teacher gets right; won: only the student."
    return Sheet("Changes by class", heads, rows, note, words=2)


def _change(one: ClassRow) -> float:
    return one.top1 - (one.teacher_top1 or 0.0)


def _class_cells(number: int, answers: Answers) -> tuple[str, str, str, str]:
    """Name, most frequent wrong answer, number and images of a class."""
    one, counts = answers.classes[number], answers.confusion[number]
    wrong = [n for n in range(len(counts)) if n != number and counts[n]]
    if not wrong:
        return one.name, ABSENT, str(number), str(one.images)
    other = max(wrong, key=counts.__getitem__)
    taken = f"{answers.classes[other].name}, {percent(counts[other] / sum(counts), 1)}%"
    return one.name, taken, str(number), str(one.images)


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
            words=3,
        ),
        Sheet("Chosen automatically", ("what", "choice"), tuple(run.choices.items()), words=2),
        Sheet("Machine", ("what", "value"), tuple(facts), words=2),
    ]
    return [sheet for sheet in sheets if sheet.rows]


def comparison(runs: Sequence[RunReport]) -> Sheet:
    """The students of several runs below each other; means where a run has several seeds."""
    heads = ("run: model", "data", "test top-1, %", KD_GAIN, "parameters", "MACs")
    data = {number: shared.data for shared in by_data(runs) for number, _ in shared.runs}
    rows = tuple(
        (f"{number}: {cells[0]}", data[number], *cells[1:])
        for number, run in enumerate(runs, start=1)
        for cells in _compared(run)
    )
    note = "Ranges are 95% intervals; ± is one sd over seeds."
    for number, run in enumerate(runs, start=1):
        last = [row.select == "last" for row in run.rows]
        if any(last):
            of = "" if all(last) else " of some models"
            note += f"\nRun {number} kept the last epoch{of}, whatever its validation top-1."
        if run.result.initial_weights:
            note += f"\nRun {number} began with the weights of {run.result.initial_weights}."
    if any(row.kd_gain is not None for run in runs if not run.result.summary for row in run.rows):
        note += f"\n{ONE_SEED}."
    return _where_said(Sheet("All runs", heads, rows, note, words=2), KD_GAIN)


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
