"""What a trained student leaves behind: weights, predictions, and the figures of its row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from compress import evaluate
from compress.config.distill import StudentPlan
from compress.data.images import Splits
from compress.errors import InputError
from compress.files import write_text
from compress.models import cost, weights
from compress.models import registry as models
from compress.records.distill import StudentRow
from compress.records.training import DivergedRow
from compress.runs import Run, read_epochs
from compress.training.inputs import TrainingImages, as_tensor
from compress.training.learner import Learner
from compress.training.predictions import read_predictions, write_predictions

STUDENTS = "students"
HOST = torch.device("cpu")
DIVERGED = "diverged"


@dataclass(frozen=True)
class Finished:
    """What a student became.

    Attributes:
        row: Its figures; kd_gain and agreement are not known here.
        validation: float32 logits of the selected weights, (images, classes).
        test: The same on the test split.
    """

    row: StudentRow
    validation: NDArray[np.float32]
    test: NDArray[np.float32]


def finish(
    run: Run,
    splits: Splits,
    plan: StudentPlan,
    learner: Learner,
    images: TrainingImages,
) -> None:
    """Look at the test images, once, and write what the student became."""
    last = learner.weights()
    best = learner.best or last
    validation = learner.best_validation
    if validation is None:
        validation = learner.logits(as_tensor(splits.validation, HOST), best)
    pixels = as_tensor(splits.test, HOST)  # beside the training images there may be no room
    test = learner.logits(pixels, best)
    same = learner.best_epoch == _epochs(run, plan.label)
    last_test = test if same else learner.logits(pixels, last)
    train = learner.logits(images.pixels[: splits.train.count], best)
    labels = splits.test.known_labels
    correct = int((test.argmax(axis=1) == labels).sum())
    low, high = evaluate.wilson(correct, len(labels))
    options = models.resolve_options(
        plan.model.name, image_size=splits.image_size, options=plan.model.options
    )
    header = weights.WeightsHeader(
        model=plan.model.name,
        options=options,
        class_names=splits.class_names,
        image_size=splits.image_size,
        mean=splits.mean,
        std=splits.std,
    )
    model = learner.deployed
    row = StudentRow(
        **_named(plan),
        top1=correct / len(labels),
        top1_low=low,
        top1_high=high,
        val_top1=float(evaluate.top1(validation, splits.validation.known_labels)),
        last_top1=float(evaluate.top1(last_test, labels)),
        train_top1=float(evaluate.top1(train, splits.train.known_labels)),
        select=learner.select,
        selected_epoch=learner.best_epoch,
        ece=float(evaluate.ece(test, labels)),
        nll=float(evaluate.nll(test, labels)),
        parameters=cost.parameters(model),
        macs=cost.macs(model, splits.image_size),
        seconds=learner.seconds,
    )
    folder = run.folder / STUDENTS
    weights.save(folder / f"{plan.label}.safetensors", best, header)
    weights.save(folder / f"{plan.label}.last.safetensors", last, header)
    write_predictions(run.folder, plan.label, splits, validation, test)
    write_text(_row(run, plan.label), row.model_dump_json(indent=2) + "\n")


def _named(plan: StudentPlan) -> dict[str, Any]:
    """The fields of every row about a plan's model."""
    named = plan.model_dump(include={"label", "seed", "role", "settings"})
    return {**named, "model": str(plan.model)}


def _epochs(run: Run, label: str) -> int:
    """How many epochs of a student the log holds."""
    return sum(record.label == label for record in read_epochs(run.folder))


def read_finished(run: Run, plan: StudentPlan) -> Finished:
    """What `finish` wrote.

    Raises:
        InputError: A file is missing or damaged.
    """
    path = _row(run, plan.label)
    try:
        row = StudentRow.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    validation, test = read_predictions(run.folder, plan.label)
    return Finished(row, validation, test)


def diverged_row(plan: StudentPlan, *, epoch: int, reason: str) -> DivergedRow:
    """What is told of a model that is left out.

    Args:
        plan: Of the model.
        epoch: In which it was noticed, from 1.
        reason: What was not finite, and at which learning rate.
    """
    return DivergedRow(**_named(plan), epoch=epoch, reason=reason)


def note_diverged(run: Run, row: DivergedRow) -> None:
    """Write who was left out, and why: diverged/<label>.json.

    Raises:
        InputError: The file cannot be written.
    """
    write_text(_diverged(run, row.label), row.model_dump_json(indent=2) + "\n")


def read_diverged(run: Run, plans: Sequence[StudentPlan]) -> tuple[DivergedRow, ...]:
    """Which of these plans were left out of a run, in their order.

    Raises:
        InputError: A file is damaged.
    """
    rows = []
    for path in (_diverged(run, plan.label) for plan in plans):
        if not path.is_file():
            continue
        try:
            rows.append(DivergedRow.model_validate_json(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise _damaged(path) from error
    return tuple(rows)


def unfinished(run: Run, plans: Sequence[StudentPlan]) -> list[StudentPlan]:
    """Which of these plans a run has still to train: neither trained to the end nor left out.

    Raises:
        InputError: The file of one that was left out is damaged.
    """
    out = {row.label for row in read_diverged(run, plans)}
    return [p for p in plans if p.label not in out and not _row(run, p.label).is_file()]


def _row(run: Run, label: str) -> Path:
    return run.folder / STUDENTS / f"{label}.json"


def _diverged(run: Run, label: str) -> Path:
    return run.folder / DIVERGED / f"{label}.json"


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is missing or damaged", hint="begin anew with --restart")
