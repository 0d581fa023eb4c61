"""Students averaged into one answer: what an ensemble of a run's models is worth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress import evaluate
from compress.config.distill import StudentPlan
from compress.errors import ConfigError
from compress.progress import Progress
from compress.records.distill import DistillRecord, EnsembleRow
from compress.runs import read_manifest
from compress.stages.summarize import by_settings
from compress.training.predictions import predictions_name, read_predictions, read_test
from compress.training.results import Finished

ROLES = ("student", "control")


def check_ensemble(plans: Sequence[StudentPlan]) -> None:
    """Refuse an ensemble of one before anything is trained.

    Raises:
        ConfigError: Fewer than two students.
    """
    students = sum(plan.role == "student" for plan in plans)
    if students < 2:
        raise ConfigError(
            f"--ensemble of {students} student: it takes two or more", hint="add --seeds 0,1,2"
        )


def with_averages(record: DistillRecord, folder: Path, progress: Progress) -> DistillRecord:
    """The record of a complete run with its averages, which nobody asked for when it was made.

    Args:
        record: As it was stored.
        folder: The run directory.
        progress: Told where there are none to be had.

    Raises:
        InputError: Stored predictions are damaged.
    """
    if record.ensembles:
        return record
    kept = read_manifest(folder).artifacts
    if any(predictions_name(row.label) not in kept for row in record.students):
        progress.note(f"{folder} kept no predictions that could be averaged")
        return record
    finished = [Finished(row, *read_predictions(folder, row.label)) for row in record.students]
    _, labels = read_test(folder / predictions_name(record.students[0].label))
    return record.model_copy(update={"ensembles": average(finished, labels)})


def average(finished: Sequence[Finished], labels: NDArray[np.int64]) -> tuple[EnsembleRow, ...]:
    """The softmax averages of a run's models: of each student over its seeds, and of all.

    Students and controls are averaged apart.

    Args:
        finished: All models of the run.
        labels: Of the test images, (images,).
    """
    rows = []
    for role in ROLES:
        members = [one for one in finished if one.row.role == role]
        alike = by_settings([one.row for one in members])
        groups = [
            (label, [members[number] for number in numbers])
            for label, numbers in alike.items()
            if len(numbers) < len(members)
        ]
        groups.append((f"{role}s", members))
        rows += [
            _row(f"average of {len(group)} {label}", group, labels)
            for label, group in groups
            if len(group) > 1
        ]
    return tuple(rows)


def _row(label: str, members: Sequence[Finished], labels: NDArray[np.int64]) -> EnsembleRow:
    total = np.zeros(members[0].test.shape)
    members_right = np.zeros(len(labels))
    for one in members:
        total += evaluate.softmax(one.test)
        members_right += one.test.argmax(axis=1) == labels
    right = total.argmax(axis=1) == labels
    mean_right = members_right / len(members)
    low, high = evaluate.wilson(int(right.sum()), len(labels))
    gain_low, gain_high = evaluate.paired_interval(right, mean_right)
    return EnsembleRow(
        label=label,
        members=len(members),
        top1=float(right.mean()),
        top1_low=low,
        top1_high=high,
        mean_member_top1=float(np.mean([one.row.top1 for one in members])),
        gain=float(right.mean() - mean_right.mean()),
        gain_low=gain_low,
        gain_high=gain_high,
    )
