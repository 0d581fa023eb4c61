"""What `--resume` refuses though no value differs, and what it lets change."""

from pathlib import Path
from typing import Any

import pytest

from compress.config.distill import distill_config
from compress.config.recipes import build
from compress.config.train import TrainConfig
from compress.errors import ConfigError
from compress.runs import Run
from compress.stages.training_run import as_asked, open_run, run_folder
from compress.training.distributed import World
from tests.stages.test_training_run import asked_for, resume


@pytest.mark.parametrize(
    ("command", "begun", "said", "difference"),
    [
        (
            "distill",
            {"seeds": [0, 1, 2]},
            {"seed": 0},
            "--seeds is [0, 1, 2] in the run, unset now",
        ),
        ("train", {"seeds": [0, 1]}, {"seed": 0}, "--seeds is [0, 1] in the run, unset now"),
        (
            "distill",
            {"sweep": {"alpha": [0.5, 1]}},
            {"alpha": 0.3},
            "sweep.alpha is [0.5, 1] in the run, unset now",
        ),
        (
            "distill",
            {"sweep": {"temperature": [1, 4]}},
            {"temperature": 2.0},
            "sweep.temperature is [1, 4] in the run, unset now",
        ),
        (
            "distill",
            {},
            {"learning_rate": 0.05},
            "model_settings.small_cnn.learning_rate is 0.2 in the run, unset now",
        ),
    ],
)
def test_resume_refuses_a_flag_that_the_run_says_in_another_way(
    tmp_path: Path, command: Any, begun: dict[str, Any], said: dict[str, Any], difference: str
) -> None:
    """Of the digits' recipe are alpha, temperature, and the small CNN's learning rate."""
    config = asked_for(command, begun)
    (key,) = said
    assert getattr(config, key) == said[key], "on the face of it nothing differs"
    Run.open(tmp_path, id="r", command=command, config=as_asked(config)).close()
    with pytest.raises(ConfigError) as caught:
        resume(tmp_path, command, **said)
    assert difference in caught.value.message.partition("other options: ")[2].split("; ")
    assert resume(tmp_path, command, **begun) == config.model_copy(update={"run_dir": tmp_path})


@pytest.mark.parametrize(
    ("begun", "said"),
    [
        ({"seed": 3, "ensemble": True}, {"seed": 3}),
        ({"loss": ["kd"], "sweep": {"temperature": [1, 4]}}, {"loss": ["kd"]}),
        ({"sweep": {"loss": ["kd", "dkd"], "temperature": [1]}}, {"sweep": {"temperature": [1]}}),
        ({"alpha": 0.3, "learning_rate": 0.1, "epochs": 3}, {"alpha": 0.3, "learning_rate": 0.1}),
    ],
)
def test_resume_takes_some_of_the_flags_that_began_the_run(
    tmp_path: Path, begun: dict[str, Any], said: dict[str, Any]
) -> None:
    config = asked_for("distill", begun)
    Run.open(tmp_path, id="r", command="distill", config=as_asked(config)).close()
    assert resume(tmp_path, "distill", **said) == config.model_copy(update={"run_dir": tmp_path})


def test_checkpoints_may_become_more_frequent_half_way(tmp_path: Path) -> None:
    config, often = (build(TrainConfig, {"checkpoint_every": steps}) for steps in (0, 9))
    assert run_folder(often, "m") == run_folder(config, "m")
    Run.open(tmp_path, id="r", command="train", config=as_asked(config)).close()
    open_run(tmp_path, "r", often, "train", World()).close()
    assert resume(tmp_path, "train", checkpoint_every=9).checkpoint_every == 9


def test_checkpoints_of_a_teacher_may_become_more_frequent_half_way(tmp_path: Path) -> None:
    config = distill_config({})
    Run.open(tmp_path, id="r", command="distill", config=as_asked(config)).close()
    found = resume(tmp_path, "distill", checkpoint_every=9)
    assert (found.checkpoint_every, found.teacher_training.checkpoint_every) == (9, 9)
    assert resume(tmp_path, "distill").teacher_training == config.teacher_training
