"""Asks every row of a bench about the test images, and says how well it answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress import evaluate, runtime
from compress.data.images import ImageSet
from compress.errors import InputError
from compress.measure import accuracy
from compress.progress import Progress
from compress.records.bench import ClassAccuracy, Difference
from compress.stages.bench_images import AskedImages, other_images
from compress.stages.bench_rows import Row

Correct = NDArray[np.bool_]


@dataclass
class Answers:
    """What the rows answered.

    Attributes:
        logits: By row key, float32 (images, classes).
        correct: By row key, bool (images,), for rows asked about labelled images.
        labels: By row key, int64 (images,), as numbers of the row's own outputs.
        reasons: Why a row was not asked, or not judged.
        notes: What was taken for granted.
    """

    logits: dict[str, accuracy.Logits] = field(default_factory=dict)
    correct: dict[str, Correct] = field(default_factory=dict)
    labels: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def ask(rows: Sequence[Row], images: AskedImages, *, provider: str, progress: Progress) -> Answers:
    """Let every row answer for every image.

    Raises:
        InputError: A model fails.
        MachineError: The provider is not here.
        UnusableError: An answer is not a number.
    """
    answers = Answers()
    for row in rows:
        reason = _unfit(row, images)
        if reason:
            answers.reasons[row.key] = reason
            continue
        own = images.of_size[row.card.image_size]
        try:
            logits = accuracy.logits(
                row.path,
                row.card.model_copy(update={"name": row.label}),
                own,
                provider=provider,
                unsaturated=row.unsaturated,
                progress=progress,
            )
        except runtime.NoClassesError as error:
            answers.reasons[row.key] = error.message
            continue
        classes = row.card.classes or own.classes
        if own.classes and logits.shape[1] != classes:
            answers.reasons[row.key] = (
                f"answers {logits.shape[1]} classes, {own.name} has {classes}"
            )
            continue
        answers.logits[row.key] = logits
        if row.card.foreign and runtime.are_log_probabilities(logits):
            answers.notes.append(f"{row.key}: answers probabilities or their logarithms")
        try:
            labels = accuracy.labels_for(row.card, own)
        except InputError as error:
            answers.reasons[row.key] = error.message
            continue
        if labels is None:
            answers.reasons[row.key] = f"{own.name} has no labels"
            continue
        if not row.card.class_names:
            answers.notes.append(
                f"{row.key}: names no classes, so those of {own.name} are taken in their order"
            )
        answers.labels[row.key] = labels
        answers.correct[row.key] = logits.argmax(axis=1) == labels
    return answers


def _unfit(row: Row, images: AskedImages) -> str:
    """Why a row cannot be asked about these images; empty when it can."""
    if images.name is None:
        return images.reason
    if runtime.stays_saturated(row.path, row.card.target):
        return (
            f"made for {row.card.target}, whose arithmetic this CPU lacks, and already optimized: "
            "name the .onnx file it was made from"
        )
    if row.untrained:
        return "untrained"
    if not images.named and row.card.dataset not in (None, images.name):
        return f"trained for {row.card.dataset}, not {images.name}: name one with --data"
    if not images.named and (other := other_images(row, images.name, images.sha256)):
        return other
    if row.card.channels != 3:
        return f"takes {row.card.channels} channels, images have 3"
    if row.card.input_layout == "float-nchw" and row.card.mean is None:
        return "does not tell its normalisation: add :normalization=NAME after the file"
    return ""


def quality(
    row: Row,
    answers: Answers,
    images: AskedImages,
    *,
    teacher: Row | None,
    fp32: Row | None,
    baseline: Row | None,
    per_class: bool,
) -> dict[str, Any]:
    """The `Quality` fields of one row.

    Args:
        row: Which.
        answers: Of all rows.
        images: That they answered for.
        teacher: The row to agree with; None for the teacher itself.
        fp32: The float32 form of the same model; None for itself.
        baseline: The row of a baseline; None without one.
        per_class: Whether to count every class.
    """
    fields: dict[str, Any] = {"not_judged": answers.reasons.get(row.key)}
    logits = answers.logits.get(row.key)
    if logits is None:
        return fields
    fields["images"] = len(logits)
    if teacher is not None and teacher.key in answers.logits:
        own = images.of_size[row.card.image_size]
        agreement = _agreement(row, teacher, answers, own.class_names)
        if agreement is not None:
            low, high = evaluate.wilson(round(agreement * len(logits)), len(logits))
            fields |= {
                "agreement": agreement,
                "agreement_low": low,
                "agreement_high": high,
            }
    labels = answers.labels.get(row.key)
    if labels is None:
        return fields
    found = accuracy.score(logits, labels, named=row.card.top_k)
    fields |= {
        "top1": found.top1,
        "top1_low": found.low,
        "top1_high": found.high,
        "top5": found.top5,
        "ece": found.ece,
        "nll": found.nll,
        "teacher_difference": _difference(row, teacher, answers),
        "fp32_difference": _difference(row, fp32, answers),
        "baseline_difference": _difference(row, baseline, answers),
    }
    if per_class:
        own = images.of_size[row.card.image_size]
        fields["per_class"] = _per_class(own, answers.correct[row.key], images.classes)
    return fields


def _agreement(row: Row, teacher: Row, answers: Answers, assumed: tuple[str, ...]) -> float | None:
    """Share of images with the teacher's top-1; None where their classes are not the same.

    Args:
        row: Which.
        teacher: To agree with.
        answers: Of both.
        assumed: The classes, in order, of one that names none.
    """
    own, others = answers.logits[row.key], answers.logits[teacher.key]
    names, other_names = row.card.class_names or assumed, teacher.card.class_names or assumed
    if names and other_names and names != other_names:
        if sorted(names) != sorted(other_names):
            return None
        others = others[:, [other_names.index(name) for name in names]]
    if own.shape != others.shape:
        return None
    return evaluate.agreement(own, others)


def _difference(row: Row, other: Row | None, answers: Answers) -> Difference | None:
    """How much more often another row is right."""
    if other is None or other.key not in answers.correct:
        return None
    own, others = answers.correct[row.key], answers.correct[other.key]
    if len(own) != len(others):
        return None
    low, high = evaluate.paired_interval(others, own)
    return Difference(
        to=other.key,
        top1_drop=float(others.mean() - own.mean()),
        low=low,
        high=high,
        p_value=evaluate.mcnemar(others, own),
    )


def _per_class(
    images: ImageSet, correct: Correct, known: Sequence[str]
) -> tuple[ClassAccuracy, ...]:
    """Every class of the images, and those that the models know besides."""
    labels = images.known_labels
    counts = np.bincount(labels, minlength=images.classes)
    hits = np.bincount(labels, weights=correct, minlength=images.classes)
    besides = [name for name in known if name not in images.class_names]
    return tuple(
        ClassAccuracy(
            name=name,
            images=int(counts[number]),
            top1=float(hits[number] / counts[number]) if counts[number] else None,
        )
        for number, name in enumerate(images.class_names)
    ) + tuple(ClassAccuracy(name=name, images=0, top1=None) for name in besides)
