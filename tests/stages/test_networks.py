"""What a student needs is looked for before its teacher is made ready."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from compress.errors import ConfigError, Interrupted, MachineError
from compress.runs import read_manifest
from compress.stages.distill import distill
from compress.stages.networks import check_networks
from compress.stages.train import train
from compress.training.results import diverged_row, note_diverged
from tests.notes import Notes
from tests.published import publish
from tests.tiny_stages import place, tiny_distill, train_config
from tests.tiny_training import digits, open_run, plan, trained_teacher_file

PRETRAINED = "mobilenet_v2:weights=imagenet"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder without a teacher, an empty hub, and no network."""

    def offline(*_arguments: object, **_options: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with place(tmp_path / "here") as folder:
        yield folder


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"student": [PRETRAINED]}, MachineError, "cannot download"),
        (
            {"loss": ["rkd:student_taps=stage9,teacher_taps=stage1"]},
            ConfigError,
            "unknown module path 'stage9'",
        ),
        (
            {"loss": ["rkd:student_taps=stage1+stage2,teacher_taps=stage1"]},
            ConfigError,
            "2 student taps",
        ),
        (
            {"loss": ["attention:student_taps=linear,teacher_taps=linear"]},
            ConfigError,
            "not that of a map",
        ),
    ],
)
def test_what_a_student_lacks_shows_before_a_teacher_is_trained(
    here: Path, changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    notes = Notes()
    with pytest.raises(kind, match=message):
        distill(tiny_distill(**changes), progress=notes)
    assert "training one first" not in notes.text
    assert len(list((here / "runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mobilenetv2": {"learning_rate": 0.1}}, "model-settings of 'mobilenetv2', which is no"),
        ({"resnet18": {"rate": 0.1}}, "unknown recipe key 'rate'"),
        ({"resnet18": {"learning-rate": -1}}, "--learning-rate -1"),
    ],
)
@pytest.mark.parametrize("teachers", [False, True])
def test_settings_of_models_are_looked_at_though_no_model_here_has_them(
    here: Path, settings: dict[str, Any], message: str, teachers: bool
) -> None:
    config = tiny_distill(**({} if teachers else {"model_settings": settings}))
    if teachers:
        training = train_config(model_settings=settings)
        config = config.model_copy(update={"teacher_training": training})
    with pytest.raises(ConfigError, match=message):
        distill(config)
    assert not (here / "runs").exists()


def test_settings_of_a_model_that_is_not_trained_here_are_fine(here: Path) -> None:
    train(train_config(run_dir="run", epochs=1, model_settings={"resnet18": {"momentum": 0.5}}))
    assert (here / "run" / "record.json").is_file()


def test_weights_for_another_width_are_refused_before_anything_begins(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not go with width=0\.5"):
        distill(tiny_distill(student=[f"{PRETRAINED},width=0.5"]))
    assert not (here / "runs").exists()


def test_a_run_names_the_published_weights_it_began_with(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_arguments: object, **_options: object) -> None:
        raise Interrupted("here")

    path, sha256 = publish("mobilenet_v2", monkeypatch)
    monkeypatch.setattr("compress.stages.train.train_students", stop)
    with pytest.raises(Interrupted):
        train(train_config(model=PRETRAINED, run_dir="run"))
    pinned = read_manifest(here / "run").inputs["ImageNet weights of mobilenet_v2"]
    assert (pinned.source, pinned.sha256) == (path.name, sha256)


def test_a_model_that_is_trained_already_needs_nothing(here: Path) -> None:
    run = open_run(here / "run")
    asked = plan(model=PRETRAINED)
    with pytest.raises(MachineError):
        check_networks(run, digits(), [asked])
    (run.folder / "students").mkdir()
    (run.folder / "students" / f"{asked.label}.json").write_text("{}")
    check_networks(run, digits(), [asked])
    run.close()


def test_a_model_that_was_left_out_needs_nothing(here: Path) -> None:
    run = open_run(here / "run")
    asked = plan(model=PRETRAINED)
    note_diverged(run, diverged_row(asked, epoch=1, reason="the loss is not finite"))
    check_networks(run, digits(), [asked])
    run.close()


def test_looking_leaves_no_trace_in_the_random_numbers(here: Path) -> None:
    run = open_run(here / "run")
    before = torch.random.get_rng_state()
    check_networks(run, digits(), [plan()])
    assert torch.equal(torch.random.get_rng_state(), before)
    run.close()


def test_a_ramp_that_goes_on_after_the_training_is_noted_once(here: Path) -> None:
    trained_teacher_file(Path("teacher.safetensors"))
    notes = Notes()
    asked = {"teacher": ["teacher.safetensors"], "loss": ["kd:ramp_epochs=400"], "epochs": 1}
    distill(tiny_distill(**asked), progress=notes)
    assert notes.text.count("kd (400 epochs)") == 1


@pytest.mark.parametrize("group", [None, 1])
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("fitnet:student_taps=stage2,teacher_taps=layer9", "unknown module path 'layer9'"),
        ("attention:student_taps=stage2,teacher_taps=linear", "not that of a map"),
    ],
)
def test_what_a_teacher_lacks_shows_before_the_first_student_is_trained(
    here: Path, loss: str, message: str, group: int | None
) -> None:
    trained_teacher_file(Path("teacher.safetensors"))
    notes = Notes()
    asked = {"teacher": ["teacher.safetensors"], "sweep": {"loss": ["kd", loss]}, "group": group}
    with pytest.raises(ConfigError, match=message):
        distill(tiny_distill(**asked), progress=notes)
    assert not any("epoch" in task for task in notes.started)
