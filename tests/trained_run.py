"""A complete run directory with really trained small networks, made in a few seconds."""

import atexit
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from compress.config.export import ExportConfig
from compress.config.specs import Scalar
from compress.data import registry as data
from compress.data.images import Splits
from compress.files import sha256_file
from compress.models import registry as models
from compress.models import weights
from compress.models.normalized import Normalized
from compress.models.weights import WeightsHeader
from compress.runs import Run
from compress.stages.export import export
from tests.fake_run import record, student

IMAGE_SIZE = 8
ALONE: Mapping[str, str] = {"small_cnn": "small_cnn"}


def digits(image_size: int = IMAGE_SIZE) -> Splits:
    """The digits, as a run with these settings reads them."""
    return data.load("digits", image_size=image_size)


def train_network(
    name: str,
    splits: Splits,
    *,
    epochs: int = 2,
    options: Mapping[str, Scalar] | None = None,
    seed: int = 0,
) -> tuple[nn.Module, WeightsHeader]:
    """Train a network by the plainest loop there is: well above chance after two epochs.

    One thread: where something else is busy, several wait for each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    resolved = models.resolve_options(name, image_size=splits.image_size, options=options or {})
    header = WeightsHeader(
        model=name,
        options=resolved,
        class_names=splits.class_names,
        image_size=splits.image_size,
        mean=splits.mean,
        std=splits.std,
    )
    network = models.build(
        name, classes=splits.classes, image_size=splits.image_size, options=resolved
    )
    classifier = Normalized(network, mean=splits.mean, std=splits.std)
    images = torch.from_numpy(np.ascontiguousarray(splits.train.images[:])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(splits.train.known_labels)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(64):
            loss = nn.functional.cross_entropy(classifier(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    torch.set_num_threads(threads)
    return network.eval(), header


def save_weights(path: Path, name: str = "small_cnn", **training: Any) -> Path:
    """Train a network on the digits and save it as a weights file of ours."""
    network, header = train_network(name, digits(), **training)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights.save(path, network.state_dict(), header)
    return path


def save_outliers(path: Path, *, stages: Sequence[int], factor: float) -> Path:
    """Save a trained small_cnn in which a channel between two layers is a factor too large.

    It computes what it did before, but one scale for all channels leaves the others no codes.
    """
    network, header = train_network("small_cnn", digits(), epochs=3)
    state = network.state_dict()
    for stage in stages:
        state[f"stage{stage}.1.weight"][0] *= factor
        state[f"stage{stage}.1.bias"][0] *= factor
        state[f"stage{stage}.3.weight"][:, 0] /= factor
    weights.save(path, state, header)
    return path


def make_trained_run(
    folder: Path,
    *,
    students: Mapping[str, str] = ALONE,
    controls: Sequence[str] = (),
    teacher: Path | None = None,
    options: Mapping[str, Scalar] | None = None,
    epochs: int = 2,
) -> Path:
    """Write a complete run of `distill` on the digits.

    Args:
        folder: Its place; the last part is its id.
        students: Model by label.
        controls: Labels that learned without a teacher.
        teacher: A weights file that is pinned as the teacher.
        options: Of every student's model.
        epochs: Of every student.
    """
    splits = digits()
    run = Run.open(
        folder,
        id=folder.name,
        command="distill",
        config={
            "data": "digits",
            "data_dir": None,
            "image_size": IMAGE_SIZE,
            "validation_fraction": 0.1,
            "split_seed": 0,
        },
    )
    run.pin("data", "digits", splits.sha256)
    if teacher is not None:
        pin = {
            "name": "small_cnn",
            "source": str(teacher),
            "path": str(teacher),
            "options": {},
            "sha256": sha256_file(teacher),
            "foreign": False,
        }
        run.choose("teacher", lambda: [pin])
    for number, (label, name) in enumerate(students.items()):
        network, header = train_network(name, splits, options=options, seed=number, epochs=epochs)
        path = folder / "students" / f"{label}.safetensors"
        path.parent.mkdir(exist_ok=True)
        weights.save(path, network.state_dict(), header)
        weights.save(path.with_suffix(".last.safetensors"), network.state_dict(), header)
    _write_roles(folder, students, controls)
    run.finish("complete")
    run.close()
    return folder


def _write_roles(folder: Path, students: Mapping[str, str], controls: Sequence[str]) -> None:
    rows = [
        student(label, role="control" if label in controls else "student") for label in students
    ]
    (folder / "record.json").write_text(record(rows, run=folder.name).to_json())


@cache
def exported_workspace() -> Path:
    """A folder with a run of a student and a control, its teacher, and its export in three forms.

    It is made once per process; copy what is to be changed.
    """
    place = Path(tempfile.mkdtemp(prefix="compress-tests-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    teacher = save_weights(place / "teacher.safetensors", epochs=3)
    make_trained_run(
        place / "runs" / "digits-test-01234567",
        students={"small_cnn": "small_cnn", "small_cnn-control": "small_cnn"},
        controls=["small_cnn-control"],
        teacher=teacher,
    )
    config = ExportConfig.model_validate(
        {
            "source": str(place / "runs" / "digits-test-01234567"),
            "out": place / "exported" / "digits-test-01234567",
            "precision": ("fp32", "int8", "fp16"),
            "ort": True,
        }
    )
    record = export(config)
    (place / "record.json").write_text(record.to_json())
    return place
