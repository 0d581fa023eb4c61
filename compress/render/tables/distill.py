"""The result of `compress distill` as a table that fits 80 columns and uses more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from compress import evaluate
from compress.records.distill import DistillRecord, EnsembleRow, StudentRow, SummaryRow, TeacherRow
from compress.records.families import families
from compress.records.training import TrainingRecord
from compress.render.gains import (
    HURTS,
    HURTS_ONE,
    MORE_SEEDS,
    ONE_SEED,
    TONES,
    TWO_SEEDS,
    Gain,
    gain_of_ensemble,
    gain_of_row,
    gain_over_seeds,
)
from compress.render.numbers import (
    ABSENT,
    amount,
    duration,
    mean_and_sd,
    percent,
    percent_range,
)
from compress.render.tables.fitting import FirstThatFits, Row, broken, grid

MANY = 4
"""Gains in one table from which on a reader is told of chance."""

LESSONS = {
    "stored": "stored soft labels",
    "live": "live teacher",
    "both": "stored soft labels and live teacher",
}
"""What students learned from, by `DistillRecord.soft_labels`."""

STYLES = {"good": "green", "bad": "bold red", "noise": "yellow"}
"""By the tone of a verdict."""


def table(record: DistillRecord) -> RenderableType:
    """Teacher, students and controls; means over seeds and ensembles where there are any."""
    parts: list[RenderableType] = [heading(record)]
    if record.summary:
        parts.append(summary_table(record.summary))
    parts.append(_rows_table(record))
    if record.ensembles:
        parts.append(_ensembles_table(record.ensembles))
    parts.extend(left_out(record))
    parts.append(Text(notes(record), style="dim"))
    return Group(*parts)


def left_out(record: TrainingRecord) -> list[RenderableType]:
    """A line for each model that the tables lack because it diverged."""
    return [Text(str(row), style="bold red") for row in record.diverged]


def heading(record: DistillRecord) -> Text:
    """What was trained on what, in a line or two."""
    return Text.assemble(
        (record.data, "bold"),
        f": {images_and_epochs(record)}; {LESSONS[record.soft_labels]}; {duration(record.seconds)}",
    )


def images_and_epochs(record: TrainingRecord) -> str:
    """How many images of each kind, and how often they were swept over."""
    more = record.unlabelled_images if isinstance(record, DistillRecord) else 0
    unlabelled = f" and {more:,} unlabelled" if more else ""
    source = f" from the weights of {record.initial_weights}" if record.initial_weights else ""
    return (
        f"{record.train_images:,} training{unlabelled}, {record.val_images:,} validation, "
        f"{record.test_images:,} test images; {record.epochs} epochs{source}"
    )


def kept_epoch(rows: Sequence[StudentRow]) -> str:
    """Which epoch the figures of these models are of, and what the column `last` is."""
    last = [row for row in rows if row.select == "last"]
    if last and len(last) == len(rows):
        return "at the last epoch, whatever its validation top-1."
    named = families(rows)
    taught = [row for row in last if row.role == "student"] or last  # controls are as they are
    names = dict.fromkeys(named[row.label] for row in taught)
    but = f" (of {', '.join(names)}: the last)" if names else ""
    return f"at the epoch with the best validation top-1{but}; last: at the last epoch."


def notes(record: DistillRecord) -> str:
    """What the numbers are, and what a reader must know to trust them."""
    gains = any(row.kd_gain is not None for row in record.students)
    lines = [
        f"Top-1 in per cent of the test images, {kept_epoch(record.students)} "
        "Ranges are 95% intervals (Wilson"
        + ("; KD gain: points over the control, paired by image)." if gains else ")."),
    ]
    if any(row.kd_gain_images_low is not None and row.kd_gain_pairs != 1 for row in record.summary):
        lines.append(
            "The range of a mean KD gain holds two errors: over seeds (Student's t) and over test "
            "images."
        )
    if record.ensembles:
        lines.append(
            "An ensemble's gain: points over its members' mean; its range is over test images."
        )
    if record.teacher.foreign:
        lines.append(
            "The teacher comes from outside and may know the validation images: their top-1 then "
            "favours students that imitate it."
        )
    lines += begun(record)
    judged = judged_gains(record)
    if gains and not record.summary:
        lines.append(f"{ONE_SEED}{'' if record.diverged else MORE_SEEDS}.")
    if any(row.kd_gain_pairs not in (None, row.seeds) for row in record.summary):
        lines.append(
            "A mean KD gain is over the seeds whose student and control were both trained to the "
            "end."
        )
    if any(one.verdict == TWO_SEEDS for one in judged):
        lines.append(
            "Two seeds hardly show how much others would differ; --seeds 0,1,2 shows more."
        )
    lines += chance(judged)
    if any(one.verdict in {HURTS, HURTS_ONE} for one in judged):
        lines.append("KD hurts where the whole range lies below 0: train on the labels alone.")
    return "\n".join(lines)


def begun(record: TrainingRecord) -> list[str]:
    """What a reader must know of weights that models began with; nothing of none."""
    lines = []
    if record.initial_foreign:
        lines.append(
            "The weights they began with come from outside and may know the validation images: the "
            "val top-1 is then too high."
        )
    if record.initial_shared:
        lines.append(
            "Student and control began with the same weights: a gain is that of these epochs alone."
        )
    return lines


def chance(judged: Sequence[Gain]) -> list[str]:
    """What a reader must know of many gains in one table; nothing of few."""
    if len(judged) < MANY:
        return []
    return [f"{len(judged)} gains are compared: of 20 such ranges, chance misplaces one."]


def judged_gains(record: DistillRecord) -> list[Gain]:
    """The gains that have a say: means over seeds where there are several, else of each student."""
    gains = [gain_over_seeds(row) for row in record.summary] or [
        gain_of_row(row, alone=record.one_seed) for row in record.students
    ]
    return [one for one in gains if one.verdict]


def teacher_range(record: DistillRecord) -> tuple[float, float]:
    """The 95% Wilson interval of the teacher's test top-1."""
    return evaluate.wilson(round(record.teacher.top1 * record.test_images), record.test_images)


def in_order(students: Sequence[StudentRow]) -> list[StudentRow]:
    """Students of one model together, each model's controls after them."""
    models = list(dict.fromkeys(row.model for row in students))
    return sorted(students, key=lambda row: (models.index(row.model), row.role == "control"))


@dataclass(frozen=True)
class _Column:
    """One fact per row, and how it is written on one line and on several."""

    head: str
    teacher: Callable[[TeacherRow], str | Text]
    student: Callable[[StudentRow], str | Text]


def name(label: str, role: str, joint: str) -> Text:
    """A row's name, with what it is where that is not a student.

    Args:
        label: The student's label or the teacher's name.
        role: `teacher`, `student` or `control`.
        joint: Between the two; a line break also splits long labels.
    """
    text = Text(broken(label) if joint == "\n" else label)
    if role != "student":
        text.append(joint + {"control": "no KD (control)"}.get(role, role), style="dim")
    return text


def gain_cell(gain: Gain, joint: str) -> Text:
    """A gain with what its interval says, in the verdict's colour, and the interval.

    Args:
        gain: What to write.
        joint: Before the interval: a line break, or spaces.
    """
    text = Text(gain.points)
    if gain.verdict:
        text.append(f" {gain.verdict}", style=STYLES[TONES[gain.verdict]])
    return text.append(joint + gain.range) if gain.range else text


def _nothing(_row: TeacherRow) -> str:
    return ABSENT


def _columns(record: DistillRecord, joint: str) -> dict[str, _Column]:
    """Every column by name, its parts joined by spaces or line breaks."""
    teacher_top1 = joint.join([percent(record.teacher.top1), percent_range(*teacher_range(record))])
    return {
        "name": _Column(
            "",
            lambda t: name(t.name, "teacher", joint),
            lambda s: name(s.label, s.role, joint),
        ),
        "label": _Column("", lambda t: t.name, lambda s: s.label),
        "top1": _Column(
            "test\ntop-1",
            lambda _: teacher_top1,
            lambda s: joint.join([percent(s.top1), percent_range(s.top1_low, s.top1_high)]),
        ),
        "last": _Column("test\nlast", _nothing, lambda s: percent(s.last_top1)),
        "val": _Column("val\ntop-1", lambda t: percent(t.val_top1), lambda s: percent(s.val_top1)),
        "train": _Column(
            "train\ntop-1", lambda t: percent(t.train_top1), lambda s: percent(s.train_top1)
        ),
        "gain": _Column(
            "KD gain\npoints",
            _nothing,
            lambda s: gain_cell(gain_of_row(s, alone=record.one_seed), joint),
        ),
        "epoch": _Column("kept\nepoch", _nothing, lambda s: str(s.selected_epoch)),
        "agreement": _Column("agrees\n%", _nothing, lambda s: percent(s.agreement)),
        "ece": _Column("ECE\n%", lambda t: percent(t.ece), lambda s: percent(s.ece)),
        "parameters": _Column(
            "para-\nmeters", lambda t: amount(t.parameters), lambda s: amount(s.parameters)
        ),
        "macs": _Column("\nMACs", lambda t: amount(t.macs), lambda s: amount(s.macs)),
        "seconds": _Column("\ntime", lambda t: duration(t.seconds), lambda s: duration(s.seconds)),
    }


ACCURACY = ("name", "top1", "last", "val", "train", "gain")
COST = ("label", "epoch", "agreement", "ece", "parameters", "macs", "seconds")


def _rows_table(record: DistillRecord) -> RenderableType:
    def layout(joint: str, names: Sequence[str]) -> Table:
        columns = [_columns(record, joint)[name] for name in names]
        rows: list[Row] = [[column.teacher(record.teacher) for column in columns]]
        rows += [[column.student(row) for column in columns] for row in in_order(record.students)]
        return grid([column.head for column in columns], rows)

    everything = (*ACCURACY, *COST[1:])
    return FirstThatFits(
        layout("  ", everything),
        layout("\n", everything),
        Group(layout("\n", ACCURACY), layout("  ", COST)),
    )


def summary_table(summary: Sequence[SummaryRow]) -> RenderableType:
    """Mean and standard deviation over seeds, and the mean KD gain with its t interval."""

    def layout(joint: str) -> Table:
        with_gain = any(row.kd_gain_mean is not None for row in summary)
        heads = ["over seeds", "seeds", "test top-1\nmean ± sd", "test last\nmean ± sd"]
        rows: list[Row] = []
        for row in summary:
            cells: list[str | Text] = [
                name(row.label, row.role if with_gain else "student", joint),
                str(row.seeds),
                mean_and_sd(row.top1_mean, row.top1_sd),
                mean_and_sd(row.last_top1_mean, row.last_top1_sd),
            ]
            if with_gain:
                cells.append(gain_cell(gain_over_seeds(row), joint))
            rows.append(cells)
        return grid([*heads, "mean KD gain\npoints"] if with_gain else heads, rows)

    return FirstThatFits(layout("  "), layout("\n"))


def _ensembles_table(ensembles: Sequence[EnsembleRow]) -> RenderableType:
    def layout(joint: str) -> Table:
        return grid(
            ["ensemble", "members", "test top-1", "members' mean", "gain\npoints"],
            [
                [
                    row.label,
                    str(row.members),
                    joint.join([percent(row.top1), percent_range(row.top1_low, row.top1_high)]),
                    percent(row.mean_member_top1),
                    gain_cell(gain_of_ensemble(row), joint),
                ]
                for row in ensembles
            ],
        )

    return FirstThatFits(layout("  "), layout("\n"))
