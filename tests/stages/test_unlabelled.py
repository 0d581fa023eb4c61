"""Images without labels: the teacher answers them, and its students learn from them as well."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compress.config.export import ExportConfig
from compress.config.soft_labels import SoftLabelsConfig
from compress.config.specs import Reference
from compress.data import registry
from compress.errors import ConfigError, InputError, Interrupted
from compress.records.artifact import ArtifactManifest
from compress.records.distill import DistillRecord
from compress.runs import read_epochs, read_manifest
from compress.stages.distill import distill
from compress.stages.export import export
from compress.stages.soft_labels import soft_labels
from tests.notes import Notes
from tests.tiny_stages import Disturbed, files, place, tiny_distill, train_config
from tests.tiny_training import trained_teacher_file

TEACHER = "teacher.safetensors"
MORE = "more"
COUNT = 1200


def take_pictures(seed: int) -> None:
    """Digits of the data's training images, changed a little, in one folder."""
    digits = registry.load("digits", image_size=8)
    noise = np.random.default_rng(seed).integers(-20, 21, (COUNT, 8, 8, 3))
    pixels = np.clip(digits.train.images[:][:COUNT] + noise, 0, 255).astype(np.uint8)
    Path(MORE).mkdir(exist_ok=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(Path(MORE, f"{number:04d}.png"))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path) -> Iterator[None]:
    with place(tmp_path / "here"):
        trained_teacher_file(Path(TEACHER))
        take_pictures(0)
        yield


def taught(progress: Notes | None = None, **changes: Any) -> DistillRecord:
    asked: dict[str, Any] = {"teacher": [TEACHER], "unlabelled": MORE, "run_dir": "run", **changes}
    return distill(tiny_distill(**asked), progress=progress or Notes())


def test_students_are_taught_on_more_images_and_measured_on_the_same() -> None:
    notes = Notes()
    record = taught(notes)
    plain = taught(unlabelled=None, run_dir="plain")
    assert (record.unlabelled_images, plain.unlabelled_images) == (COUNT, 0)
    assert record.train_images == plain.train_images == 1293
    assert record.teacher.top1 == plain.teacher.top1
    assert "epoch 1/2: 19 step" in notes.started  # 2,493 images, where 1,293 make 10
    assert read_manifest(Path("run")).inputs["unlabelled images"].source == MORE
    assert "unlabelled images" not in read_manifest(Path("plain")).inputs
    right = {row.label: row.train_top1 for row in record.students}
    assert all(0 < top1 <= 1 for top1 in right.values())  # of the labelled images, as below
    logged = {one.label: one.train_top1 for one in read_epochs(Path("run")) if one.epoch == 2}
    assert logged.keys() == right.keys()
    assert all(abs(logged[label] - top1) < 0.35 for label, top1 in right.items())


def test_a_control_is_not_taught_what_has_no_label() -> None:
    """Wrong labels on nearly the same digits would leave it below what it has here."""
    record = taught(epochs=4, label_smoothing=0.1)
    student, control = record.students
    assert control.role == "control"
    assert min(student.top1, control.top1) > 0.5


def test_an_interrupted_run_goes_on_to_the_same_bits() -> None:
    taught(run_dir="whole", epochs=3)
    with pytest.raises(Interrupted):
        taught(Disturbed(at_step=14), epochs=3)
    taught(epochs=3)
    assert files(Path("run")) == files(Path("whole"))


def test_pictures_that_changed_are_refused_and_lost_ones_are_told_of() -> None:
    first = taught()
    assert taught() == first
    take_pictures(1)
    with pytest.raises(InputError, match="the pictures of more changed since run"):
        taught()
    shutil.rmtree(MORE)
    notes = Notes()
    assert taught(notes) == first
    assert f"{MORE} is not compared with what run learned from" in notes.text


def test_changed_pictures_are_refused_though_the_unlabelled_ones_are_gone() -> None:
    mine = Path("mine")
    digits = registry.load("digits", image_size=8)
    for split, images in (("train", digits.train), ("test", digits.test)):
        for row, label in enumerate(images.known_labels[:200]):
            (mine / split / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(images.images[row : row + 1][0]).save(
                mine / split / str(label) / f"{row:03d}.png"
            )
    asked: dict[str, Any] = {"data": "mine", "image_size": None, "control": False, "batch_size": 32}
    taught(**asked)
    shutil.rmtree(MORE)
    changed = next((mine / "train" / "3").iterdir())
    Image.new("RGB", (8, 8), (1, 2, 3)).save(changed)
    with pytest.raises(InputError, match="the pictures of mine changed since run"):
        taught(**asked)


def test_a_run_that_goes_on_wants_the_pictures_it_began_with() -> None:
    with pytest.raises(Interrupted):
        taught(Disturbed(at_step=3))
    take_pictures(1)
    with pytest.raises(InputError, match="unlabelled images more changed since the run began"):
        taught()


def test_a_missing_teacher_is_trained_on_labelled_images_alone() -> None:
    def with_own_teacher(**changes: Any) -> list[str]:
        notes = Notes()
        config = tiny_distill(control=False, **changes)
        distill(config.model_copy(update={"teacher_training": train_config()}), progress=notes)
        return [line for line in notes.started if line.startswith("epoch 1/2")]

    assert with_own_teacher(unlabelled=MORE) == ["epoch 1/2: 10 step", "epoch 1/2: 19 step"]
    assert with_own_teacher() == ["epoch 1/2: 10 step"]  # the same teacher


def test_their_answers_can_be_made_ahead_of_time() -> None:
    def fill(unlabelled: str | None) -> None:
        soft_labels(
            SoftLabelsConfig(
                teacher=(Reference(target=TEACHER),),
                image_size=8,
                views=2,
                augmentation=tiny_distill().augmentation,
                unlabelled=unlabelled,
                soft_labels=Path("labels"),
                device="cpu",
                amp="off",
            )
        )

    fill(None)
    with pytest.raises(InputError, match="2 of 2 views are missing") as caught:
        taught(teacher=[], soft_labels="labels")
    assert "--unlabelled" in caught.value.hint
    with pytest.raises(ConfigError, match="unknown data 'typo'"):
        fill("typo")
    fill(MORE)
    from_store = taught(teacher=[], soft_labels="labels")
    asked = taught(run_dir="asked")
    assert [row.top1 for row in from_store.students] == [row.top1 for row in asked.students]


def test_an_exported_student_says_what_it_was_taught_on() -> None:
    taught(control=False)
    config = ExportConfig(
        source=Reference(target="run"), out=Path("out"), precision=("fp32",), teacher=False
    )
    export(config)
    (manifest,) = (ArtifactManifest.read(path) for path in Path("out").rglob("manifest.json"))
    pinned = read_manifest(Path("run")).inputs["unlabelled images"]
    assert manifest.parents["unlabelled images"] == pinned.sha256
    assert "CC BY 4.0, as in scikit-learn; besides, without labels: images" in manifest.data_note
    assert manifest.data_note.endswith("images of the user's own folder more")


def test_what_the_data_hold_already_is_left_out() -> None:
    digits = registry.load("digits", image_size=8)
    for split in (digits.train, digits.validation, digits.test):
        Image.fromarray(split.images[:1][0]).save(Path(MORE, f"{split.name}.png"))
    notes = Notes()
    assert taught(notes).unlabelled_images == COUNT
    assert (
        "unlabelled images of more: 1,200; digits holds 3 more of them already: left out"
    ) in notes.text
    with pytest.raises(ConfigError, match="digits holds all of these images already"):
        taught(unlabelled="digits", run_dir="other")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": ["dkd"]}, "loss dkd is not defined for unlabelled images"),
        ({"unlabelled": "cifar11"}, "unknown data 'cifar11'"),
        ({"unlabelled": "./gone"}, "there is no folder ./gone"),
        ({"batch_size": 2500}, "larger than the 2493 training images"),
        ({"alpha": 0.0}, "--unlabelled has no use"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, InputError), match=message):
        taught(**changes)
