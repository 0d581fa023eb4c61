"""Models that begin with weights there are, instead of those their seed draws."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from compress.config.export import ExportConfig
from compress.config.list import ListConfig
from compress.config.specs import Reference
from compress.errors import ConfigError, InputError, Interrupted
from compress.records.artifact import ArtifactManifest
from compress.records.distill import DistillRecord
from compress.render.tables.distill import heading
from compress.runs import read_manifest
from compress.stages.distill import distill
from compress.stages.export import export
from compress.stages.list import list_choices
from compress.stages.train import train
from tests.notes import Notes
from tests.tiny_stages import MODEL, Disturbed, files, place, tiny_distill, train_config
from tests.tiny_training import trained_teacher_file

TEACHER = "teacher.safetensors"
FIRST = "first"
ONE = f"{FIRST}/students/small_cnn-s1.safetensors"
HARDLY: dict[str, Any] = {"learning_rate": 1e-9, "weight_decay": 0.0, "select": "last"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher, and a run of two seeds with their controls."""
    with place(tmp_path_factory.mktemp("made")) as folder:
        trained_teacher_file(Path(TEACHER))
        distill(tiny_distill(teacher=[TEACHER], seeds=(0, 1), epochs=1, run_dir=FIRST))
    return folder


@pytest.fixture(autouse=True)
def _here(made: Path, tmp_path: Path) -> Iterator[None]:
    shutil.copytree(made, tmp_path / "here")
    with place(tmp_path / "here"):
        yield


def taught_on(progress: Notes | None = None, **changes: Any) -> DistillRecord:
    asked: dict[str, Any] = {
        "teacher": [TEACHER],
        "initial_weights": FIRST,
        "seeds": (0, 1),
        "run_dir": "run",
        **changes,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    return distill(tiny_distill(**given), progress=progress or Notes())


def alone(reference: str, **changes: Any) -> DistillRecord:
    """One seed, whose label is that of no model of the first run."""
    return taught_on(**{"initial_weights": reference, "seeds": None, **changes})


def learned(path: str) -> dict[str, torch.Tensor]:
    """The parameters in a file, without what BatchNorm counts."""
    return {k: v for k, v in load_file(path).items() if "running" not in k and "num_" not in k}


def apart(one: str, other: str) -> float:
    """The largest difference of two models' parameters."""
    first, second = learned(one), learned(other)
    return max(float((first[key] - second[key]).abs().max()) for key in first)


def test_each_model_begins_with_that_of_its_label() -> None:
    record = taught_on(**HARDLY, epochs=1)
    for row in record.students:
        name = f"students/{row.label}.safetensors"
        assert apart(f"run/{name}", f"{FIRST}/{name}") < 1e-6
    assert apart(f"run/students/{record.students[0].label}.safetensors", ONE) > 0.1
    assert record.initial_weights == FIRST
    assert "; 1 epochs from the weights of first; " in heading(record).plain
    Path("runs").mkdir()
    shutil.move("run", "runs")
    (entry,) = list_choices(ListConfig(what="runs")).entries
    assert (entry.run, entry.initial_weights) == ("run", FIRST)
    shutil.move("runs/run", ".")
    pinned = read_manifest(Path("run")).inputs["initial weights of small_cnn-s1"]
    assert pinned.source == f"{FIRST}:student=small_cnn-s1"
    assert pinned.sha256 == read_manifest(Path(FIRST)).artifacts[ONE[len(FIRST) + 1 :]].sha256


def test_what_is_taught_on_goes_on_getting_better() -> None:
    before = DistillRecord.read(Path(FIRST, "record.json"))
    after = taught_on(epochs=2)
    assert after.summary[0].top1_mean > before.summary[0].top1_mean + 0.05


@pytest.mark.parametrize("reference", [f"{FIRST}:student=small_cnn-s1", ONE])
def test_one_model_may_be_the_beginning_of_student_and_control(reference: str) -> None:
    notes = Notes()
    record = alone(reference, progress=notes, **HARDLY, epochs=1)
    assert [row.role for row in record.students] == ["student", "control"]
    for row in record.students:
        assert apart(f"run/students/{row.label}.safetensors", ONE) < 1e-6
    assert ("may know the validation images" in notes.text) == (reference == ONE)
    assert (record.initial_shared, record.initial_foreign) == (True, reference == ONE)
    assert "normalised otherwise" not in notes.text


def test_a_checkpoint_from_elsewhere_says_how_it_is_normalised_and_leaves_its_licence_open() -> (
    None
):
    torch.save(load_file(ONE), "elsewhere.pt")
    notes = Notes()
    alone(f"elsewhere.pt:model={MODEL.replace(':', ',')},normalization=imagenet", progress=notes)
    assert "they know images normalised otherwise" in notes.text
    export(ExportConfig(source=Reference(target="run"), teacher=False, out=Path("exported")))
    licence = ArtifactManifest.read(Path("exported", "small_cnn", "manifest.json")).licence
    assert licence == "not stated with the weights"
    alone(f"{FIRST}:student=small_cnn-s1", run_dir="own")
    export(ExportConfig(source=Reference(target="own"), teacher=False, out=Path("other")))
    licence = ArtifactManifest.read(Path("other", "small_cnn", "manifest.json")).licence
    assert "theirs to choose" in licence


def test_weights_of_another_split_may_know_the_validation_images() -> None:
    notes = Notes()
    taught_on(notes, split_seed=1, epochs=1)
    assert "may know the validation images" in notes.text
    assert "normalised otherwise" not in notes.text
    same = Notes()
    record = taught_on(same, run_dir="same", epochs=1)
    assert "may know the validation images" not in same.text
    assert (record.initial_foreign, record.initial_shared) == (False, False)


def test_what_is_to_be_known_of_weights_goes_on_with_those_they_became() -> None:
    torch.save(load_file(ONE), "elsewhere.pt")
    alone(f"elsewhere.pt:model={MODEL.replace(':', ',')},normalization=imagenet", run_dir="a")
    second = alone("a", run_dir="b")
    assert (second.initial_foreign, second.initial_shared) == (True, False)
    folder = Path("exported")
    export(ExportConfig(source=Reference(target="b"), teacher=False, out=folder))
    manifest = ArtifactManifest.read(folder / "small_cnn" / "manifest.json")
    assert manifest.licence == "not stated with the weights"
    begun = read_manifest(Path("b")).inputs["initial weights of small_cnn"]
    assert manifest.parents["initial weights"] == begun.sha256
    assert manifest.data_note.endswith(
        "; begun with the weights a:student=small_cnn, and what these had learned from"
    )
    assert alone("none", teacher=["b:student=small_cnn"], run_dir="c").teacher.foreign


def test_an_interrupted_run_goes_on_to_the_same_bits_from_any_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taught_on(run_dir="whole", epochs=3)
    with pytest.raises(Interrupted):
        taught_on(Disturbed(at_step=14), epochs=3)
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    distill(tiny_distill(resume="../run"), flags={"resume": "../run"})
    assert files(Path("../run")) == files(Path("../whole"))


def test_a_run_goes_on_with_the_weights_it_began_with_and_no_others() -> None:
    with pytest.raises(Interrupted):
        taught_on(Disturbed(at_step=14), epochs=3, group=1)
    shutil.copyfile(f"{FIRST}/students/small_cnn-s0.safetensors", ONE)
    with pytest.raises(InputError, match=f"initial weights {ONE} changed since the run began"):
        taught_on(epochs=3, group=1)


def test_a_finished_run_is_not_shown_for_other_weights_and_stands_without_them() -> None:
    record = taught_on(epochs=1)
    assert taught_on(epochs=1) == record
    weights = Path(ONE).read_bytes()
    shutil.copyfile(f"{FIRST}/students/small_cnn-s0.safetensors", ONE)
    with pytest.raises(InputError, match="began small_cnn-s1 with other weights than"):
        taught_on(epochs=1)
    Path(ONE).write_bytes(weights)
    assert taught_on(epochs=1) == record
    shutil.rmtree(FIRST)
    assert taught_on(epochs=1) == record


def test_train_goes_on_from_weights_too() -> None:
    record = train(train_config(initial_weights=ONE, run_dir="trained", epochs=1, **HARDLY))
    assert record.initial_weights == ONE
    assert apart("trained/students/small_cnn.safetensors", ONE) < 1e-6


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        (
            {"seeds": None},
            f"run {FIRST} has no model small_cnn$",
            f"small_cnn-s1; with {FIRST}:student=LABEL all models of one seed begin",
        ),
        ({"initial_weights": ONE}, "gives several seeds one beginning", "use one --seed"),
        ({"student": ["small_cnn:width=0.5"]}, "width=0.25, small_cnn-s0 is small_cnn:", "same"),
        ({"initial_weights": f"{FIRST}:students=all"}, "no option students", ":student=LABEL"),
        ({"initial_weights": "gone"}, "no initial weights 'gone'", "compress list runs"),
        ({"initial_weights": "m.onnx"}, "ONNX artifact, which cannot be trained", "the run"),
        ({"initial_weights": "gone.pt"}, "no weights in gone.pt", None),
        ({"initial_weights": ":x=1"}, "nothing before the options", None),
        (
            {"student": ["small_cnn=mobilenet_v2:width=0.25"]},
            "holds small_cnn:.*, small_cnn-s0 is mobilenet_v2:",
            "the same model",
        ),
        (
            {"student": ["small_cnn=mobilenet_v2:weights=imagenet"]},
            "weights=imagenet and --initial-weights are two beginnings",
            "leave one out",
        ),
    ],
)
def test_what_cannot_begin_is_refused(
    changes: dict[str, Any], message: str, hint: str | None
) -> None:
    with pytest.raises((ConfigError, InputError), match=message) as caught:
        taught_on(**changes)
    assert hint is None or hint in caught.value.hint
    assert not Path("run", "students").exists()


def test_a_run_that_is_not_complete_begins_nothing() -> None:
    with pytest.raises(Interrupted):
        taught_on(Disturbed(at_step=14), epochs=3)
    with pytest.raises(InputError, match="run run is interrupted"):
        taught_on(initial_weights="run", run_dir="next")
    with pytest.raises(ConfigError, match="--initial-weights own is the run that is being made"):
        taught_on(initial_weights="own", run_dir="own")


def test_what_stands_in_a_checkpoint_needs_its_beginning_no_more() -> None:
    taught_on(run_dir="whole", epochs=3)
    with pytest.raises(Interrupted):
        taught_on(Disturbed(at_step=14), epochs=3)
    shutil.rmtree(FIRST)
    taught_on(epochs=3)
    assert files(Path("run")) == files(Path("whole"))


def test_what_has_not_begun_needs_its_beginning() -> None:
    with pytest.raises(Interrupted):
        taught_on(Disturbed(at_step=14), epochs=3, group=1)
    shutil.move(FIRST, "moved")
    with pytest.raises(InputError, match=r"first/.*s1.safetensors, with .* begins .*s1, is gone"):
        taught_on(epochs=3, group=1)
    shutil.move("moved", FIRST)
    taught_on(epochs=3, group=1)
    taught_on(run_dir="whole", epochs=3)
    assert files(Path("run")) == files(Path("whole"))


def test_no_beginning_takes_the_place_of_a_recipes() -> None:
    recipe = Path("r.toml")
    recipe.write_text('[distill]\ninitial_weights = "gone"\n')
    with pytest.raises(InputError, match="no initial weights 'gone'") as caught:
        taught_on(initial_weights=None, recipe=str(recipe))
    assert "--initial-weights none" in caught.value.hint
    record = taught_on(initial_weights="none", recipe=str(recipe), run_dir="other", epochs=1)
    assert (record.initial_weights, record.initial_shared) == (None, False)
