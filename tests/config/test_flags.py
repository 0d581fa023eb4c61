"""What options are called in messages."""

import pytest
from typer.main import get_command

from compress.config.distill import DistillConfig
from compress.config.flags import RECIPE_ONLY, written
from compress.config.train import TrainConfig
from compress.config.training import TrainingConfig
from tests.conftest import program


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("learning_rate", "--learning-rate"),
        ("augmentation", "--augment"),
        ("augmentation.flip", "augmentation.flip"),
        ("momentum", "momentum"),
    ],
)
def test_an_option_is_called_as_it_can_be_written(key: str, expected: str) -> None:
    assert written(key) == expected


@pytest.mark.parametrize(("command", "kind"), [("train", TrainConfig), ("distill", DistillConfig)])
def test_every_flag_that_is_named_exists_and_no_other(
    command: str, kind: type[TrainingConfig]
) -> None:
    flags = {
        spelling
        for option in get_command(program()).commands[command].params  # type: ignore[attr-defined]
        for spelling in (*option.opts, *option.secondary_opts)
    }
    named = {written(key) for key in kind.model_fields}
    assert {name for name in named if name.startswith("--")} <= flags
    assert not {f"--{key.replace('_', '-')}" for key in RECIPE_ONLY} & flags
    assert DistillConfig.model_fields.keys() >= RECIPE_ONLY
