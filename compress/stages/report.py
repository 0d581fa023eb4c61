"""`compress report`: finished runs, read and checked, become everything a page about them shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.config.report import ReportConfig
from compress.data import registry as data
from compress.data.images import ImageSet
from compress.errors import CompressError
from compress.progress import Progress, Silent
from compress.records.distill import DistillRecord, StudentRow
from compress.records.families import families
from compress.records.report import Answers, ReportRecord, RunReport
from compress.records.run import RunManifest
from compress.records.train import TrainRecord
from compress.runs import EPOCHS, RECORD, checked_file, complete_run, find_run, read_epochs
from compress.stages.report_answers import (
    Predictions,
    by_class,
    describe,
    numbers,
    who_is_right,
)
from compress.stages.report_samples import pick_samples
from compress.training.predictions import predictions_name, read_test
from compress.version import VERSION

TEACHER = "teacher"
"""Its predictions lie beside the students' under this name."""

MOST_STUDENTS = 8
"""Kinds of students whose answers are shown in detail; their controls are not counted."""


def report(
    config: ReportConfig,
    *,
    progress: Progress = Silent(),  # noqa: B008 - it has no state
) -> ReportRecord:
    """Read finished runs; every file is compared with its run's manifest first.

    Args:
        config: Which runs, and where their data may lie.
        progress: Told of each run, and of what is left out.

    Raises:
        InputError: A run is missing or unfinished, or a file of it is missing or altered.
    """
    found = {folder.resolve(): folder for folder in map(find_run, config.runs)}
    folders = list(found.values())
    runs = []
    for folder in folders:
        progress.note(f"reading {folder.name}")
        runs.append(_run(folder, config.data_dir, progress))
    default = folders[0] / "report" if len(folders) == 1 else Path("report")
    return ReportRecord(folder=str(config.out or default), version=VERSION, runs=tuple(runs))


def _run(folder: Path, data_dir: Path | None, progress: Progress) -> RunReport:
    manifest = complete_run(folder)
    path = checked_file(folder, manifest, RECORD)
    result: DistillRecord | TrainRecord
    if manifest.command == "distill":
        result = DistillRecord.read(path)
        rows = result.students
    else:
        result = TrainRecord.read(path)
        rows = result.models
    checked_file(folder, manifest, EPOCHS)
    notes = [str(row) for row in result.diverged]
    teacher = None
    if isinstance(result, DistillRecord):
        teacher = _predictions(folder, manifest, TEACHER, notes)
    images = _test_images(folder, manifest, data_dir, teacher, notes, progress)
    names = images.class_names if images else _class_names(folder, manifest, rows)
    answers: list[Answers] = []
    if teacher is not None:
        names = names or numbers(teacher)
        classes = by_class(teacher, None, names)
        told = describe(TEACHER, "teacher", teacher)
        answers.append(told.model_copy(update={"classes": classes}))
    for row in _shown(rows, notes):
        own = _predictions(folder, manifest, row.label, notes)
        if own is None:
            continue
        names = names or numbers(own)
        role = "student" if isinstance(result, TrainRecord) else row.role
        told = describe(row.label, role, own)
        changes: dict[str, Any] = {"classes": by_class(own, teacher, names)}
        if teacher is not None:
            changes["agreement"] = who_is_right(own, teacher)
        if teacher is not None and images is not None and role == "student":
            changes["disagreements"] = pick_samples(
                images, teacher.logits, own.logits, teacher.labels
            )
        answers.append(told.model_copy(update=changes))
    for note in notes:
        progress.note(f"{folder.name}: {note}")
    return RunReport(
        folder=str(folder),
        result=result,
        class_names=names,
        epochs=tuple(read_epochs(folder)),
        answers=tuple(answers),
        inputs=manifest.inputs,
        choices={key: _written(value) for key, value in manifest.choices.items()},
        notes=tuple(notes),
    )


def _written(value: object) -> str:
    """A choice as people write it: `channels last, dtype bfloat16`; what is off is left out."""
    if isinstance(value, Mapping):
        kept = {key: one for key, one in value.items() if one or (one == 0 and one is not False)}
        words = {str(key).replace("_", " "): one for key, one in kept.items()}
        return ", ".join(k if one is True else f"{k} {_written(one)}" for k, one in words.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(_written(one) for one in value)
    return str(value)


def _shown(rows: Sequence[StudentRow], notes: list[str]) -> list[StudentRow]:
    """The first seed of each student, of many those best on validation, and their controls.

    Args:
        rows: Of one run; where nobody was taught, all count as students.
        notes: Told of what is left out.

    Returns:
        In the order of the run.
    """
    names = families(rows)
    students = [row for row in rows if row.role == "student"] or list(rows)
    firsts: dict[str, StudentRow] = {}
    for row in students:
        firsts.setdefault(names[row.label], row)
    if len(firsts) < len(students):
        notes.append("answers are shown in detail for the first seed of each student")
    best = sorted(firsts.values(), key=lambda row: row.val_top1, reverse=True)[:MOST_STUDENTS]
    if len(firsts) > MOST_STUDENTS:
        notes.append(
            f"answers are shown in detail for the {MOST_STUDENTS} of {len(firsts)} students with "
            "the best validation top-1"
        )
    return [row for row in rows if row in best or any(_is_control(row, one) for one in best)]


def _is_control(row: StudentRow, student: StudentRow) -> bool:
    """Whether a row is what a student would have become without its teacher."""
    return (
        row.role == "control"
        and student.role == "student"
        and (row.model, row.seed) == (student.model, student.seed)
        and row.settings.items() <= student.settings.items()
    )


def _predictions(
    folder: Path, manifest: RunManifest, label: str, notes: list[str]
) -> Predictions | None:
    """A model's stored answers, or None with a note where the run kept none.

    Raises:
        InputError: The file is missing, altered, or holds something else.
    """
    name = predictions_name(label)
    if name not in manifest.artifacts:
        notes.append(f"the run kept no predictions of {label}: its details are left out")
        return None
    return Predictions(*read_test(checked_file(folder, manifest, name)))


def _test_images(
    folder: Path,
    manifest: RunManifest,
    data_dir: Path | None,
    teacher: Predictions | None,
    notes: list[str],
    progress: Progress,
) -> ImageSet | None:
    """The images the run was tested on, or None with a note where they are not to be had."""
    if teacher is None:
        return None
    config, name = manifest.config, manifest.config["data"]
    data.check_place(data_dir)
    place = data_dir or data.still_there(config.get("data_dir"))
    try:
        images = data.load_test(
            data.named_by(folder, name),
            data_dir=place,
            image_size=config.get("image_size"),
            progress=progress,
        )
    except CompressError as error:
        progress.note(error.message)
        notes.append(f"sample images are left out: {Path(name).name} is not at hand")
        return None
    pinned = manifest.inputs.get("test images")  # runs of earlier versions have only labels
    same = images.labels is not None and np.array_equal(images.labels, teacher.labels)
    same = same and (pinned is None or pinned.sha256 == images.sha256)
    if not same or images.classes != teacher.logits.shape[1]:
        notes.append(f"sample images are left out: {images.name} is not what the run was tested on")
        return None
    return images


def _class_names(
    folder: Path, manifest: RunManifest, rows: Sequence[StudentRow]
) -> tuple[str, ...]:
    """What the weights of the run call their classes; empty where there are none."""
    for row in rows:
        name = f"students/{row.label}.safetensors"
        if name in manifest.artifacts:
            from compress.models import weights

            header = weights.load(checked_file(folder, manifest, name), {}).header
            return header.class_names or ()
    return ()
