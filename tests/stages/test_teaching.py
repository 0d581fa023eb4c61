"""Finding the teacher."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from compress.config.specs import Reference
from compress.config.train import TrainConfig
from compress.data.images import Splits
from compress.errors import ConfigError, InputError
from compress.stages import teaching
from compress.stages.train import train
from compress.stages.training_data import load_splits
from compress.training.members import Member
from tests.notes import Notes
from tests.tiny_stages import place, train_config
from tests.tiny_training import (
    digits,
    teacher_file,
    trained_teacher_file,
)

FILE = "teacher.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of one model, a run of two seeds, and a weights file."""
    with place(tmp_path_factory.mktemp("teachers")) as here:
        train(train_config(epochs=1, run_dir="runs/one"))
        train(train_config(epochs=1, run_dir="runs/two", model="two_block_cnn", seeds=(0, 1)))
        trained_teacher_file(Path(FILE))
        return here


@pytest.fixture(autouse=True)
def _here(folder: Path) -> Iterator[None]:
    with place(folder):
        yield


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_splits(train_config(), Notes())


def no_training(config: TrainConfig) -> Path:
    raise AssertionError(f"{config.model} would be trained")


def members(splits: Splits, *references: str, notes: Notes | None = None) -> list[Member]:
    return teaching.members_of(
        [Reference.parse(text) for text in references],
        splits,
        training=train_config(),
        train=no_training,
        progress=notes or Notes(),
    )


@pytest.mark.parametrize("name", ["runs/one", "one"])
def test_a_run_gives_the_weights_it_selected(splits: Splits, name: str) -> None:
    (member,) = members(splits, name)
    assert member.path == Path("runs/one/students/small_cnn.safetensors")
    assert (member.name, member.foreign, member.source) == ("small_cnn", False, name)


def test_of_several_models_in_a_run_one_is_chosen_by_label(splits: Splits) -> None:
    with pytest.raises(ConfigError, match="several models: two_block_cnn-s0, two_block_cnn-s1"):
        members(splits, "two")
    (member,) = members(splits, "two:student=two_block_cnn-s1")
    assert member.path.name == "two_block_cnn-s1.safetensors"


def test_a_label_that_the_run_lacks_is_an_input_error(splits: Splits) -> None:
    with pytest.raises(InputError, match=r"has no students/three\.safetensors"):
        members(splits, "two:student=three")


def test_a_weights_file_is_foreign(splits: Splits) -> None:
    (member,) = members(splits, FILE)
    assert (member.path, member.foreign) == (Path(FILE), True)


def test_several_make_an_ensemble_in_their_order(splits: Splits) -> None:
    assert [member.source for member in members(splits, FILE, "one")] == [FILE, "one"]


def test_no_teacher_means_the_newest_run_of_the_default(splits: Splits) -> None:
    notes = Notes()
    (member,) = members(splits, notes=notes)
    assert member.path.parent.parent == Path("runs/one")
    assert "teacher: runs/one, the newest complete run of small_cnn on this data" in notes.text


def test_of_several_models_in_the_newest_run_one_is_to_be_chosen(splits: Splits) -> None:
    with pytest.raises(ConfigError, match="several models: two_block_cnn-s0, two_block_cnn-s1"):
        members(splits, "two_block_cnn")


def test_several_teachers_are_not_trained_for_one(splits: Splits) -> None:
    with pytest.raises(ConfigError, match="one for each of 2 seeds") as caught:
        teaching.members_of(
            [Reference(target="resnet18")],
            splits,
            training=train_config(seeds=(0, 1)),
            train=no_training,
            progress=Notes(),
        )
    assert "--teacher RUN:students=all" in str(caught.value.hint)


def test_options_of_a_model_name_must_be_those_of_the_run(splits: Splits) -> None:
    assert members(splits, "small_cnn:width=0.25")[0].path.parent.parent == Path("runs/one")
    with pytest.raises(AssertionError, match=r"small_cnn:width=0\.5 would be trained"):
        members(splits, "small_cnn:width=0.5")


def test_a_model_without_a_run_is_trained_like_the_default_one(splits: Splits) -> None:
    asked: list[TrainConfig] = []

    def train_it(config: TrainConfig) -> Path:
        asked.append(config)
        return Path("runs/one")

    teaching.members_of(
        [Reference(target="resnet18", options={"stem": "cifar"})],
        splits,
        training=train_config(epochs=7),
        train=train_it,
        progress=Notes(),
    )
    assert str(asked[0].model) == "resnet18:stem=cifar"
    assert asked[0].epochs == 7


def test_runs_on_other_images_do_not_count(splits: Splits) -> None:
    with pytest.raises(AssertionError, match="would be trained"):
        members(digits())
    (member,) = teaching.members_of(
        [Reference(target="one")],
        digits(),
        training=train_config(),
        train=no_training,
        progress=Notes(),
    )
    assert member.foreign
    assert splits.sha256 != digits().sha256


def test_an_unfinished_run_cannot_teach(splits: Splits) -> None:
    manifest = Path("runs/one/manifest.json")
    before = manifest.read_text()
    manifest.write_text(before.replace('"status": "complete"', '"status": "running"'))
    try:
        with pytest.raises(InputError, match="run runs/one is running"):
            members(splits, "one")
    finally:
        manifest.write_text(before)


def test_altered_weights_of_a_run_are_refused(splits: Splits) -> None:
    path = Path("runs/one/students/small_cnn.safetensors")
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        with pytest.raises(InputError, match="differs from its manifest"):
            members(splits, "one")
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("model.onnx", ConfigError, "is an ONNX artifact, which cannot teach"),
        ("runs", InputError, "runs is no run and no weights file"),
        ("gone", InputError, "neither a run, nor a weights file, nor a model name"),
        ("gone.safetensors", InputError, "gone"),
    ],
)
def test_what_cannot_teach_is_refused(
    splits: Splits, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        members(splits, name)


def test_pinned_members_come_back_unchanged(splits: Splits) -> None:
    found = members(splits, FILE, "one")
    pins = json.loads(json.dumps(teaching.pinned(found)))
    again = teaching.unpinned(pins, Path("runs/one"), splits)
    assert [m.sha256 for m in again] == [m.sha256 for m in found]
    assert [(m.source, m.foreign) for m in again] == [(FILE, True), ("one", False)]


def test_a_pinned_member_that_changed_is_refused(splits: Splits) -> None:
    trained_teacher_file(Path("changing.safetensors"))
    pins = teaching.pinned(members(splits, "changing.safetensors"))
    teacher_file(Path("changing.safetensors"), seed=8)
    with pytest.raises(InputError, match=r"changing\.safetensors changed since the run began"):
        teaching.unpinned(pins, Path("runs/one"), splits)
