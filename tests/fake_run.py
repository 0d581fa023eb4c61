"""A finished run directory with invented logits, for tests of what is made from runs."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.files import write_text
from compress.records.distill import DistillRecord, EnsembleRow, StudentRow, SummaryRow, TeacherRow
from compress.records.document import Environment
from compress.records.run import EpochRecord
from compress.records.soft_labels import TeacherDescription
from compress.records.train import TrainRecord
from compress.runs import RECORD, Run

CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ENVIRONMENT = Environment(
    cpu="Example CPU",
    instruction_sets=("avx2",),
    cores=2,
    system="Linux x86_64",
    python="3.11.9",
    packages={"compress-edge": "0.0"},
)
COSTS = {
    "resnet56": (853_018, 125_485_706),
    "small_cnn": (288_490, 38_600_000),
    "mobilenet_v2": (2_236_682, 87_980_000),
}


def logits(labels: NDArray[np.int64], *, skill: float, seed: int) -> NDArray[np.float32]:
    """Invented logits of shape (images, 10) that are right more often with more skill."""
    noise = np.random.default_rng(seed).normal(size=(len(labels), len(CLASSES)))
    return (skill * np.eye(len(CLASSES))[labels] + noise).astype(np.float32)


def top1(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The share of images whose largest logit is the label's."""
    return float((scores.argmax(1) == labels).mean())


def summary_row(label: str = "small_cnn", **changes: Any) -> SummaryRow:
    """A model's means over seeds; what is not said is invented."""
    base: dict[str, Any] = {
        "label": label,
        "role": "student",
        "seeds": 3,
        "top1_mean": 0.9,
        "top1_sd": 0.001,
        "last_top1_mean": 0.9,
        "last_top1_sd": 0.001,
    }
    return SummaryRow(**{**base, **changes})


def described(**changes: Any) -> TeacherDescription:
    """What is known of a teacher without its weights; what is not said is invented."""
    base: dict[str, Any] = {
        "name": "small_cnn",
        "data": "digits",
        "splits_sha256": "0" * 64,
        "class_names": ("a", "b", "c"),
        "weights_sha256": ("1" * 64,),
        "parameters": 1,
        "macs": 1,
        "size_bytes": 4,
        "top1": 0.9,
        "val_top1": 0.9,
        "foreign": False,
        "number_format": "float32",
        "format_agreement": 1.0,
        "format_probability_error": 0.0,
    }
    return TeacherDescription(**{**base, **changes})


def student(label: str, **changes: Any) -> StudentRow:
    """A student's row; what is not said is invented."""
    model = next((name for name in COSTS if label.startswith(name)), "small_cnn")
    value = changes.get("top1", 0.9)
    base: dict[str, Any] = {
        "label": label,
        "model": model,
        "seed": 0,
        "role": "control" if "control" in label else "student",
        "top1": value,
        "top1_low": value - 0.01,
        "top1_high": value + 0.01,
        "val_top1": value + 0.002,
        "last_top1": value - 0.001,
        "train_top1": min(1.0, value + 0.05),
        "selected_epoch": 18,
        "agreement": None if "control" in label else 0.93,
        "ece": 0.021,
        "nll": 0.31,
        "parameters": COSTS[model][0],
        "macs": COSTS[model][1],
        "seconds": 1234.5,
    }
    return StudentRow(**{**base, **changes})


TEACHER = TeacherRow(
    name="resnet56",
    top1=0.9339,
    val_top1=0.9412,
    ece=0.038,
    parameters=COSTS["resnet56"][0],
    macs=COSTS["resnet56"][1],
    foreign=True,
    seconds=312.0,
)


def record(students: Sequence[StudentRow], **changes: Any) -> DistillRecord:
    """A distillation record around some students."""
    base: dict[str, Any] = {
        "run": "cifar10-small-cnn-0123abcd",
        "data": "cifar10",
        "train_images": 45_000,
        "val_images": 5_000,
        "test_images": 10_000,
        "epochs": 20,
        "soft_labels": "stored",
        "teacher": TEACHER,
        "students": tuple(students),
        "seconds": 5025.0,
        "environment": ENVIRONMENT,
    }
    return DistillRecord(**{**base, **changes})


def epochs(labels: Sequence[str], count: int = 20) -> list[EpochRecord]:
    """Learning curves that bend as real ones do."""
    return [
        EpochRecord(
            label=label,
            epoch=epoch,
            loss=2.0 * math.exp(-epoch / 6) + 0.2 + 0.05 * place,
            train_top1=0.95 - 0.55 * math.exp(-epoch / 5) - 0.01 * place,
            val_top1=0.92 - 0.5 * math.exp(-epoch / 4) - 0.01 * place,
            val_loss=1.5 * math.exp(-epoch / 5) + 0.3 + 0.02 * place,
            learning_rate=0.2 * (1 - epoch / (count + 1)),
            images_per_second=2500.0,
            seconds=20.0,
        )
        for epoch in range(1, count + 1)
        for place, label in enumerate(labels)
    ]


def make_run(
    folder: Path,
    *,
    seeds: Sequence[int] = (0,),
    models: Sequence[str] = ("small_cnn",),
    images: int = 400,
    data: str = "cifar10",
    data_sha256: str = "d" * 64,
    labels: NDArray[np.int64] | None = None,
    command: str = "distill",
    complete: bool = True,
    predictions: bool = True,
    weights: Path | None = None,
) -> Path:
    """Write a run directory: record, epochs, predictions and manifest.

    Args:
        folder: Its place.
        seeds: One student and control for each.
        models: Student models.
        images: Test images, with invented labels.
        data: Name of the data.
        data_sha256: What the manifest says of the data.
        labels: The test labels instead of invented ones.
        command: `distill`, or `train` for the same without teacher and controls.
        complete: Whether it ended.
        predictions: Whether it keeps its answers.
        weights: A weight file that becomes each student's.

    Returns:
        The folder.
    """
    run = Run.open(
        folder,
        id=folder.name,
        command="distill" if command == "distill" else "train",
        config={
            "data": data,
            "data_dir": None,
            "image_size": None,
            "validation_fraction": 0.1,
            "split_seed": 0,
            "epochs": 20,
        },
    )
    run.pin("data", data, data_sha256)
    truth = np.arange(images, dtype=np.int64) % len(CLASSES) if labels is None else labels
    rows: list[StudentRow] = []
    roles = ("student", "control") if command == "distill" else ("control",)
    names: list[str] = []

    def save(label: str, skill: float, seed: int) -> float:
        scores = logits(truth, skill=skill, seed=seed)
        if not predictions:
            return top1(scores, truth)
        path = folder / "predictions" / f"{label}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(
            path,
            val_logits=scores[:50],
            val_labels=truth[:50],
            test_logits=scores,
            test_labels=truth,
        )
        return top1(scores, truth)

    teacher_top1 = save("teacher", 4.0, 99) if command == "distill" else 0.0
    for model in models:
        for seed in seeds:
            tail = f"-s{seed}" if len(seeds) > 1 else ""
            for role in roles:
                control = role == "control"
                label = model + ("-control" if control and command == "distill" else "") + tail
                value = save(label, 3.0 if control else 3.4, seed + 10 * control)
                names.append(label)
                if weights is not None:
                    (folder / "students").mkdir(exist_ok=True)
                    shutil.copy(weights, folder / "students" / f"{label}.safetensors")
                taught = command == "distill" and not control
                rows.append(
                    student(
                        label,
                        seed=seed,
                        role=role,
                        top1=value,
                        kd_gain=0.012 if taught else None,
                        kd_gain_low=-0.004 if taught else None,
                        kd_gain_high=0.028 if taught else None,
                    )
                )
    run.write_epochs(epochs(names))
    summary = [
        summary_row(
            model + ("-control" if role == "control" and command == "distill" else ""),
            role=role,
            seeds=len(seeds),
            top1_mean=0.9,
            top1_sd=0.003,
            last_top1_mean=0.899,
            last_top1_sd=0.004,
            kd_gain_mean=0.012 if role == "student" else None,
            kd_gain_low=0.002 if role == "student" else None,
            kd_gain_high=0.022 if role == "student" else None,
        )
        for model in models
        for role in roles
        if len(seeds) > 1
    ]
    shared: dict[str, Any] = {
        "run": folder.name,
        "data": data,
        "test_images": len(truth),
        "summary": tuple(summary),
    }
    result: DistillRecord | TrainRecord
    if command == "distill":
        ensembles = (
            EnsembleRow(
                label=models[0],
                members=len(seeds),
                top1=0.925,
                top1_low=0.92,
                top1_high=0.93,
                mean_member_top1=0.9,
                gain=0.025,
                gain_low=0.02,
                gain_high=0.03,
            ),
        )
        result = record(
            rows,
            **shared,
            teacher=TEACHER.model_copy(update={"top1": teacher_top1}),
            ensembles=ensembles if len(seeds) > 1 else (),
        )
    else:
        result = TrainRecord(
            **shared,
            train_images=45_000,
            val_images=5_000,
            epochs=20,
            models=tuple(rows),
            seconds=900.0,
            environment=ENVIRONMENT,
        )
    write_text(folder / RECORD, result.to_json())
    run.finish("complete" if complete else "running")
    run.close()
    return folder
