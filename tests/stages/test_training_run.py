"""What train and distill do alike."""

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from compress.config.distill import DistillConfig, distill_config
from compress.config.recipes import build, layers
from compress.config.train import TrainConfig
from compress.errors import ConfigError, InputError, Interrupted
from compress.locks import claim
from compress.progress import Silent
from compress.runs import Run
from compress.stages.training_data import load_splits
from compress.stages.training_run import (
    as_asked,
    finished_record,
    open_run,
    pin_data,
    resumed,
    run_folder,
    schedule_of,
    wait_for,
)
from compress.training.distributed import World
from compress.training.workplace import Workplace
from tests.notes import Notes


def test_a_configuration_is_plain_json() -> None:
    asked = as_asked(build(TrainConfig, {"model": "small_cnn:width=0.5", "data_dir": "somewhere"}))
    assert asked["model"] == {"name": "small_cnn", "options": {"width": 0.5}}
    assert asked["data_dir"] == "somewhere"


def test_a_run_lies_under_its_name_unless_told(tmp_path: Path) -> None:
    config = build(TrainConfig, {})
    name, folder = run_folder(config, "resnet50")
    assert folder == Path("runs") / name
    told = build(TrainConfig, {"run_dir": tmp_path})
    assert run_folder(told, "resnet50") == (name, tmp_path)


def test_without_resume_a_configuration_stays_as_it_is() -> None:
    config = build(TrainConfig, {"epochs": 3})
    assert resumed(config, {"epochs": 3}, "train") is config


def test_resume_keeps_the_places_that_were_given(tmp_path: Path) -> None:
    config = build(TrainConfig, {"epochs": 3, "workers": 1, "data_dir": "old"})
    Run.open(tmp_path, id="r", command="train", config=as_asked(config)).close()
    flags = {"resume": str(tmp_path), "data_dir": "new"}
    found = resumed(build(TrainConfig, flags), flags, "train")
    assert (found.epochs, found.workers) == (3, 1)
    assert (found.data_dir, found.run_dir, found.resume) == (Path("new"), tmp_path, None)


def test_resume_takes_the_limits_of_the_machine_it_is_told(tmp_path: Path) -> None:
    config = build(DistillConfig, {})
    Run.open(tmp_path, id="r", command="distill", config=as_asked(config)).close()
    flags = {"resume": str(tmp_path), "group": 2, "soft_labels_limit_mib": 9}
    found = resumed(build(DistillConfig, flags), flags, "distill")
    assert (found.group, found.soft_labels_limit_mib) == (2, 9)


def test_resume_compares_of_an_augmentation_what_is_given(tmp_path: Path) -> None:
    config = build(TrainConfig, *layers("train", {"data": "cifar10"}))
    assert (config.augmentation.flip, config.augmentation.crop_padding) == (True, 4)
    Run.open(tmp_path, id="r", command="train", config=as_asked(config)).close()

    def resume(**augmentation: str) -> TrainConfig:
        flags = {"resume": str(tmp_path), "augmentation": augmentation}
        return resumed(build(TrainConfig, *layers("train", flags)), flags, "train")

    assert resume(flip="true", cutout="16").augmentation == config.augmentation
    with pytest.raises(ConfigError, match=r"augmentation\.cutout is 16 in the run, 8 now") as e:
        resume(flip="true", cutout="8")
    assert "flip" not in e.value.message


def test_resume_compares_of_a_sweep_the_keys_given(tmp_path: Path) -> None:
    swept = {"alpha": [0.5, 1], "learning_rate": [0.1, 0.2]}
    config = build(DistillConfig, {"sweep": swept})
    Run.open(tmp_path, id="r", command="distill", config=as_asked(config)).close()

    def resume(**sweep: list[float]) -> DistillConfig:
        flags = {"resume": str(tmp_path), "sweep": sweep}
        return resumed(distill_config(flags), flags, "distill")

    assert resume(alpha=[0.5, 1]).sweep == config.sweep
    with pytest.raises(ConfigError, match=r"sweep\.alpha is \[0\.5, 1\] in the run, \[0\.3\] now"):
        resume(alpha=[0.3])


def test_resume_never_restarts_what_was_begun_with_restart(tmp_path: Path) -> None:
    config = build(TrainConfig, {"restart": True})
    Run.open(tmp_path, id="r", command="train", config=as_asked(config)).close()
    flags = {"resume": str(tmp_path)}
    assert not resumed(build(TrainConfig, flags), flags, "train").restart
    both = {**flags, "restart": True}
    with pytest.raises(ConfigError, match="--resume and --restart contradict each other"):
        resumed(build(TrainConfig, both), both, "train")


def asked_for(command: str, flags: dict[str, Any]) -> Any:
    """The configuration of a command with some flags."""
    if command == "distill":
        return distill_config(flags)
    return build(TrainConfig, *layers("train", flags))


def resume(folder: Path, command: str, **flags: Any) -> Any:
    """What `--resume` makes of a run and flags."""
    given = {"resume": str(folder), **flags}
    return resumed(asked_for(command, given), given, command)


def test_resume_goes_on_where_the_run_lies_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = as_asked(asked_for("train", {}))
    Run.open(Path("runs/a"), id="a", command="train", config=config).close()
    assert resume(Path("runs/a"), "train", run_dir=tmp_path / "runs" / "a").run_dir == Path(
        "runs/a"
    )
    with pytest.raises(
        ConfigError, match="the run in runs/a, not in --run-dir elsewhere"
    ) as caught:
        resume(Path("runs/a"), "train", run_dir=Path("elsewhere"))
    assert "leave --run-dir out" in caught.value.hint


RECIPE = """
[data]
data = "digits"
[data.augmentation]
crop_padding = 1
[train]
epochs = 7
[train.model-settings.small_cnn]
learning-rate = 0.2
[distill]
epochs = 3
alpha = 0.8
[distill.sweep]
temperature = [2, 4]
"""


@pytest.mark.parametrize("command", ["train", "distill"])
def test_resume_with_the_recipe_of_the_run_goes_on(tmp_path: Path, command: Any) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE)
    flags = {"recipe": str(recipe), "batch_size": 32, "augmentation": {"flip": "true"}}
    config = asked_for(command, flags)
    Run.open(tmp_path / "r", id="r", command=command, config=as_asked(config)).close()
    for said in ({}, {"augmentation": {"flip": "true"}}, {"batch_size": 32}):
        found = resume(tmp_path / "r", command, recipe=str(recipe), **said)
        assert found == config.model_copy(update={"run_dir": tmp_path / "r"})


@pytest.mark.parametrize(
    ("command", "old", "new", "difference"),
    [
        ("train", "epochs = 7", "epochs = 8", "--epochs is 7 in the run, 8 now"),
        (
            "train",
            "learning-rate = 0.2",
            "learning-rate = 0.3",
            "model_settings.small_cnn.learning-rate is 0.2 in the run, 0.3 now",
        ),
        (
            "distill",
            "crop_padding = 1",
            "crop_padding = 2",
            "augmentation.crop_padding is 1 in the run, 2 now",
        ),
        (
            "distill",
            "temperature = [2, 4]",
            "temperature = [2, 8]",
            "sweep.temperature is [2, 4] in the run, [2, 8] now",
        ),
        ("distill", "epochs = 7", "epochs = 8", "teacher_training.epochs is 7 in the run, 8 now"),
    ],
)
def test_resume_with_a_recipe_that_differs_names_the_difference(
    tmp_path: Path, command: Any, old: str, new: str, difference: str
) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE)
    config = asked_for(command, {"recipe": str(recipe)})
    Run.open(tmp_path / "r", id="r", command=command, config=as_asked(config)).close()
    recipe.write_text(RECIPE.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        resume(tmp_path / "r", command, recipe=str(recipe))
    said = caught.value.message.partition("other options: ")[2]
    assert difference in said.split("; ")
    assert "leave --recipe out" in caught.value.hint
    assert resume(tmp_path / "r", command).epochs == config.epochs, "unsaid, it is the run's own"


def test_a_flag_hides_what_the_recipe_says_when_resuming(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE)
    config = asked_for("train", {"recipe": str(recipe), "epochs": 5})
    Run.open(tmp_path / "r", id="r", command="train", config=as_asked(config)).close()
    assert resume(tmp_path / "r", "train", recipe=str(recipe), epochs=5).epochs == 5
    with pytest.raises(ConfigError, match="--epochs is 5 in the run, 7 now"):
        resume(tmp_path / "r", "train", recipe=str(recipe))


def test_a_complete_run_with_an_altered_file_is_refused(tmp_path: Path) -> None:
    config = build(TrainConfig, {})
    run = Run.open(tmp_path, id="r", command="train", config=as_asked(config))
    (tmp_path / "record.json").write_text("{}")
    run.finish("complete")
    run.close()
    (tmp_path / "record.json").write_text('{"top1": 1.0}')
    with pytest.raises(InputError, match=r"record\.json differs from its manifest"):
        finished_record(tmp_path, config, Silent())


def test_only_a_complete_run_of_the_same_options_is_finished(tmp_path: Path) -> None:
    config = build(TrainConfig, {})
    assert finished_record(tmp_path / "r", config, Silent()) is None
    run = Run.open(tmp_path / "r", id="r", command="train", config=as_asked(config))
    assert finished_record(tmp_path / "r", config, Silent()) is None
    run.finish("complete")
    run.close()
    assert finished_record(tmp_path / "r", config, Silent()) == tmp_path / "r" / "record.json"
    others = {"epochs": 7}, {"restart": True}
    for changes in others:
        assert finished_record(tmp_path / "r", build(TrainConfig, changes), Silent()) is None


def of_another_version(folder: Path, command: Literal["train", "distill"], **config: Any) -> None:
    """A run that was stopped, in whose manifest options are missing (None) or unknown."""
    kind = TrainConfig if command == "train" else DistillConfig
    asked = as_asked(build(kind, {"augmentation": {"flip": True}}))
    asked["augmentation"].pop("cutmix")
    written = {k: v for k, v in {**asked, **config}.items() if v is not None}
    Run.open(folder, id="r", command=command, config=written).close()


def test_a_run_of_a_version_with_fewer_options_goes_on(tmp_path: Path) -> None:
    of_another_version(tmp_path, "distill", sync_batchnorm=None, ensemble=None)
    same = {"augmentation": {"flip": True}, "run_dir": tmp_path}
    config = build(DistillConfig, same)
    run = open_run(tmp_path, "r", config, "distill", World())
    assert finished_record(tmp_path, config, Silent()) is None
    run.finish("complete")
    run.close()
    assert finished_record(tmp_path, config, Silent()) == tmp_path / "record.json"
    flags = {"resume": str(tmp_path), "sync_batchnorm": False, "augmentation": {"cutmix": "0"}}
    assert resumed(build(DistillConfig, flags), flags, "distill") == config
    other = build(DistillConfig, {**same, "sync_batchnorm": True})
    with pytest.raises(ConfigError, match=r"--sync-batchnorm is false in the run, true now$"):
        open_run(tmp_path, "r", other, "distill", World())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"speed": 1}, "begun by a newer version: this one has no option speed"),
        (
            {"augmentation": {"warp": 1}},
            r"newer version: this one has no option augmentation\.warp",
        ),
        ({"amp": "fp8"}, "begun with what this version refuses: --amp fp8: "),
    ],
)
def test_a_run_of_a_newer_version_is_refused(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    of_another_version(tmp_path, "train", **config)
    asked = build(TrainConfig, {"augmentation": {"flip": True}})
    with pytest.raises(ConfigError, match=message) as caught:
        open_run(tmp_path, "r", asked, "train", World())
    assert "the version that began it" in caught.value.hint
    with pytest.raises(ConfigError, match=message):
        resumed(build(TrainConfig, {"resume": str(tmp_path)}), {}, "train")
    before = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**before, "status": "complete"}))
    with pytest.raises(ConfigError, match=message):
        finished_record(tmp_path, asked, Silent())


def test_a_complete_run_of_the_other_command_is_not_shown(tmp_path: Path) -> None:
    of_another_version(tmp_path, "train")
    config = build(DistillConfig, {"augmentation": {"flip": True}})
    assert finished_record(tmp_path, config, Silent()) is None
    with pytest.raises(ConfigError, match="was made by `compress train`"):
        open_run(tmp_path, "r", config, "distill", World())


def test_the_schedule_is_what_was_asked() -> None:
    config = build(TrainConfig, {"epochs": 5, "views": 2, "view_seed": 7, "checkpoint_every": 3})
    schedule = schedule_of(config, group=4)
    assert (schedule.epochs, schedule.views, schedule.view_seed) == (5, 2, 7)
    assert (schedule.checkpoint_every, schedule.group) == (3, 4)


def test_data_that_changed_since_the_run_began_is_refused(tmp_path: Path) -> None:
    config = build(TrainConfig, {"image_size": 8})
    splits = load_splits(config, Silent())
    run = Run.open(tmp_path, id="r", command="train", config={})
    pin_data(run, splits, config, World())
    changed = replace(splits, test=splits.validation)
    with pytest.raises(InputError, match="data digits changed since the run began"):
        pin_data(run, changed, config, World())
    run.close()


@pytest.mark.parametrize("gives_up", [False, True])
def test_all_ranks_wait_for_another_process_from_look_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gives_up: bool
) -> None:
    """None is left in one message for as long as the other process takes."""
    heard: list[str] = []

    class Heard(World):
        def from_main(self, decide: Callable[[], Any]) -> Any:
            heard.append("look")
            return decide()

        def agree(self, flag: bool) -> bool:
            heard.append("stop?")
            return gives_up and heard.count("stop?") == 3

    other = claim(tmp_path / "lock", hint="")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2 and not gives_up:
            other.close()

    monkeypatch.setattr(time, "sleep", pause)
    notes = Notes()
    place = Workplace(torch.device("cpu"), Heard(), notes)
    with pytest.raises(Interrupted, match="while waiting for") if gives_up else nullcontext():
        wait_for(tmp_path, place)
    assert heard[:5] == ["look", "look", "stop?", "look", "stop?"]
    assert len(pauses) == 2
    assert len(notes.notes) == 1
    other.close()
