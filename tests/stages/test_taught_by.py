"""A run of `distill` is of one teacher, however that teacher was named."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compress.cache import cache_folder
from compress.config.distill import DistillConfig
from compress.config.soft_labels import SoftLabelsConfig
from compress.config.specs import Reference
from compress.errors import ConfigError, Interrupted
from compress.models import weights
from compress.records.distill import DistillRecord
from compress.runs import RECORD, read_manifest
from compress.stages.distill import distill
from compress.stages.soft_labels import soft_labels
from compress.stages.train import train
from compress.training.soft_labels import list_sets
from tests.notes import Notes
from tests.tiny_stages import Disturbed, begun, place, taught, tiny_distill, train_config
from tests.tiny_training import trained_teacher_file

OTHERWISE = "--restart or another --run-dir"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of two teachers and a folder of stored answers of each: `a`, `b`."""
    with place(tmp_path_factory.mktemp("prepared")) as folder:
        trained_teacher_file(Path("a.safetensors"))
        changed(Path("a.safetensors"), Path("b.safetensors"))
        for name in ("a", "b"):
            soft_labels(
                SoftLabelsConfig(
                    teacher=(Reference(target=f"{name}.safetensors"),),
                    image_size=8,
                    views=2,
                    augmentation=tiny_distill().augmentation,
                    soft_labels=Path(name),
                    device="cpu",
                    amp="off",
                )
            )
    return folder


@pytest.fixture(autouse=True)
def _here(prepared: Path, tmp_path: Path) -> Iterator[None]:
    shutil.copytree(prepared, tmp_path / "here", ignore=shutil.ignore_patterns("cache"))
    with place(tmp_path / "here"):
        yield


def changed(source: Path, target: Path) -> None:
    """The same network with slightly other weights."""
    read = weights.load(source, {})
    weights.save(target, {name: value * 1.01 for name, value in read.state.items()}, read.header)


def test_stored_labels_of_another_teacher_do_not_show_a_complete_run() -> None:
    first = taught(soft_labels="a")
    with pytest.raises(ConfigError, match="learned from another teacher") as caught:
        taught(soft_labels="b")
    assert OTHERWISE in caught.value.hint
    assert taught(soft_labels="a") == first
    assert taught(soft_labels="b", restart=True).run == first.run
    taught(soft_labels="b")


def test_a_complete_run_is_shown_where_its_stored_labels_are_gone() -> None:
    first = taught(soft_labels="a")
    shutil.rmtree("a")
    assert taught(soft_labels="a") == first


def test_stored_labels_of_another_teacher_do_not_end_an_unfinished_run() -> None:
    begun(soft_labels="a")
    with pytest.raises(ConfigError, match="learned from another teacher") as caught:
        taught(soft_labels="b")
    assert OTHERWISE in caught.value.hint
    taught(soft_labels="a")


def unnamed(**changes: Any) -> DistillConfig:
    """A run that finds its teacher itself, or trains it first."""
    asked = tiny_distill(control=False, **changes)
    return asked.model_copy(update={"teacher_training": train_config(epochs=3)})


@pytest.mark.parametrize("complete", [True, False])
def test_stored_labels_are_compared_with_a_teacher_that_was_found(complete: bool) -> None:
    if complete:
        distill(unnamed(run_dir="run"))
    else:
        distill(unnamed(run_dir="first", epochs=1))  # trains the teacher
        with pytest.raises(Interrupted):
            distill(unnamed(run_dir="run"), progress=Disturbed(3))
    with pytest.raises(ConfigError, match="learned from another teacher"):
        distill(unnamed(run_dir="run", soft_labels="a"))
    distill(unnamed(run_dir="run"))


@pytest.mark.parametrize("complete", [True, False])
def test_no_teacher_is_looked_for_where_stored_labels_began_a_run(complete: bool) -> None:
    if complete:
        taught(soft_labels="a", run_dir="run")
    else:
        begun(soft_labels="a", run_dir="run")
    notes = Notes()
    with pytest.raises(ConfigError, match="learned from the stored soft labels small_cnn-"):
        taught(run_dir="run", progress=notes)
    assert "training one first" not in notes.text
    assert taught(soft_labels="a", run_dir="run") == taught(resume="run")


def test_stored_labels_in_another_number_format_are_refused() -> None:
    begun(soft_labels="a")
    (folder,) = Path("a").iterdir()
    folder.rename(folder.with_name("small_cnn-ffff"))
    with pytest.raises(ConfigError, match="same teacher in another number format"):
        taught(soft_labels="a")


def test_a_run_of_an_earlier_version_is_compared_as_well() -> None:
    first = taught(soft_labels="a")
    path = Path("runs") / first.run / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["inputs"]["soft labels"] = manifest["inputs"].pop("teacher")
    path.write_text(json.dumps(manifest))
    assert taught(soft_labels="a") == first
    with pytest.raises(ConfigError, match="learned from another teacher"):
        taught(soft_labels="b")


def test_a_complete_run_is_not_shown_for_a_teacher_that_changed() -> None:
    asked = {"teacher": ["a.safetensors"]}
    first = taught(**asked)
    assert taught(**asked) == first
    changed(Path("a.safetensors"), Path("a.safetensors"))
    with pytest.raises(ConfigError, match=r"a\.safetensors \(sha256 \w{12}…\), this is") as caught:
        taught(**asked)
    assert OTHERWISE in caught.value.hint
    assert read_manifest(Path("runs") / first.run).status == "complete"
    Path("a.safetensors").unlink()
    assert taught(**asked) == first


def test_both_ways_to_a_teacher_pin_the_same() -> None:
    taught(teacher=["a.safetensors"], run_dir="named")
    taught(soft_labels="a", run_dir="stored")
    named, stored = (read_manifest(Path(run)) for run in ("named", "stored"))
    assert named.inputs["teacher"].sha256 == stored.inputs["teacher"].sha256
    assert named.inputs.keys() == stored.inputs.keys() == {"data", "test images", "teacher"}
    assert named.choices["soft labels"] == stored.choices["soft labels"]


def test_a_teacher_that_is_a_run_tells_its_training_accuracy() -> None:
    own = train(train_config(epochs=3, run_dir="own"))
    assert taught(teacher=["own"], run_dir="one").teacher.train_top1 == own.models[0].train_top1
    again = taught(teacher=["one"], run_dir="two", epochs=1).teacher
    student = DistillRecord.read(Path("one") / RECORD).students[0]
    assert again.train_top1 == student.train_top1
    assert taught(teacher=["a.safetensors"], run_dir="three").teacher.train_top1 is None
    assert taught(teacher=["own", "one"], run_dir="four").teacher.train_top1 is None


def test_whoever_filled_the_store_a_run_says_whether_its_own_teacher_is_from_outside() -> None:
    """The same weights, once as a file of unknown origin and once as a run on this split."""
    train(train_config(epochs=3, run_dir="own"))
    shutil.copy("own/students/small_cnn.safetensors", "copy.safetensors")
    assert taught(teacher=["copy.safetensors"], run_dir="one").teacher.foreign
    assert not taught(teacher=["own"], run_dir="two").teacher.foreign
    assert len(list_sets(cache_folder() / "soft-labels")) == 1


def test_a_teacher_from_another_split_has_no_training_accuracy_here() -> None:
    train(train_config(epochs=3, run_dir="own", split_seed=1))
    assert taught(teacher=["own"], run_dir="one").teacher.train_top1 is None
