"""Recipes fill a configuration, under its flags and over its defaults."""

from pathlib import Path
from typing import Any

import pytest

from compress.config import recipes
from compress.config.distill import DistillConfig, plan_students
from compress.config.train import TrainConfig
from compress.errors import ConfigError, InputError


def _recipe(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_later_layers_win_key_by_key() -> None:
    config = recipes.build(TrainConfig, {"epochs": 3, "batch_size": 8}, {"epochs": 5})
    assert (config.epochs, config.batch_size, config.learning_rate) == (5, 8, 0.05)


def test_keys_may_be_spelled_as_on_the_command_line() -> None:
    assert recipes.build(TrainConfig, {"batch-size": 8}).batch_size == 8


@pytest.mark.parametrize(
    ("recipe", "flags", "seeds"),
    [
        ({"seeds": [1, 2]}, {"seed": 7}, (7,)),
        ({"seed": 7}, {"seeds": [1, 2]}, (1, 2)),
        ({"seeds": [1, 2]}, {"epochs": 1}, (1, 2)),
    ],
)
def test_a_seed_flag_replaces_the_seeds_of_a_recipe(
    recipe: dict[str, object], flags: dict[str, object], seeds: tuple[int, ...]
) -> None:
    assert recipes.build(TrainConfig, recipe, flags).all_seeds == seeds


def test_an_unknown_key_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown recipe key 'epoch'") as caught:
        recipes.build(TrainConfig, {"epoch": 3})
    assert "epochs" in caught.value.hint.split(": ")[1].split(", ")


@pytest.mark.parametrize(
    ("layer", "known"),
    [
        ({"augmentation": {"flop": True}}, "flip"),
        ({"teacher_training": {"epoch": 3}}, "epochs"),
        ({"teacher_training": {"augmentation": {"flop": True}}}, "flip"),
    ],
)
def test_an_unknown_nested_key_lists_the_known_ones(layer: dict[str, object], known: str) -> None:
    with pytest.raises(ConfigError, match="unknown recipe key") as caught:
        recipes.build(DistillConfig, layer)
    assert known in caught.value.hint.split(": ")[1].split(", ")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("epochs", 0, "--epochs 0: Input should be greater than or equal to 1"),
        ("alpha", 1.5, "--alpha 1.5: Input should be less than or equal to 1"),
        ("alpha", -0.1, "--alpha -0.1: Input should be greater than or equal to 0"),
        ("temperature", 0, "--temperature 0: Input should be greater than 0"),
        ("temperature", "nan", "--temperature nan: Input should be a finite number"),
        ("batch_size", 0, "--batch-size 0: Input should be greater than or equal to 1"),
        ("learning_rate", 0, "--learning-rate 0: Input should be greater than 0"),
        ("device", "tpu", "--device tpu: Input should be 'auto', 'cpu' or 'cuda'"),
        ("warmup_epochs", 20, "warmup_epochs 20 leaves nothing of 20 epochs"),
        ("seeds", [1, 1], "--seeds: seeds must be different numbers, at least one"),
    ],
)
def test_a_value_out_of_bounds_is_shown_with_its_option(
    option: str, value: object, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        recipes.build(DistillConfig, {option: value})
    assert caught.value.message == message


def test_every_installed_recipe_is_valid() -> None:
    for name in recipes.names():
        tables = recipes.load(name)
        data = tables.get("data", {})
        recipes.build(TrainConfig, data, tables.get("train", {}))
        recipes.build(DistillConfig, data, tables.get("distill", {}))


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'nope'"):
        recipes.load("nope")


def test_a_recipe_file_is_read(tmp_path: Path) -> None:
    path = _recipe(tmp_path, "[data]\ndata = 'digits'\n[distill]\nepochs = 2\n")
    assert recipes.load(path) == {"data": {"data": "digits"}, "distill": {"epochs": 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 3\n", "unknown recipe table 'epochs'"),
        ("distill = 3\n", "distill in recipe .* is not a table"),
        ("[distill\n", "is not TOML"),
    ],
)
def test_a_malformed_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipes.load(_recipe(tmp_path, text))


def test_a_recipe_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.toml").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ConfigError, match="is not TOML"):
        recipes.load(str(tmp_path / "image.toml"))


def test_a_missing_recipe_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read recipe .*gone\.toml: No such file"):
        recipes.load(str(tmp_path / "gone.toml"))


@pytest.mark.parametrize(
    ("recipe", "flags", "kept"),
    [
        ("alpha = 0.3\ntemperature = 2\n", {"loss": ["dkd"]}, set()),
        ("alpha = 0.3\nalpha_from = 0.1\nalpha_ramp_epochs = 2\n", {"loss": ["dkd"]}, set()),
        ("alpha = 0.3\ntemperature = 2\n", {"sweep": {"loss": ["kd", "dkd"]}}, set()),
        (
            "alpha = 0.3\ntemperature = 2\n",
            {"sweep": {"temperature": [1]}},
            {"alpha", "temperature"},
        ),
        ("loss = ['dkd']\nce_weight = 0.1\n", {"sweep": {"alpha": [0.3, 0.9]}}, set()),
        ("loss = ['dkd']\nce_weight = 0.1\n", {"sweep": {"ce_weight": [1]}}, {"loss", "ce_weight"}),
    ],
)
def test_a_flag_hides_another_way_to_weigh_of_the_recipe(
    tmp_path: Path, recipe: str, flags: dict[str, Any], kept: set[str]
) -> None:
    asked = {"recipe": _recipe(tmp_path, f"[distill]\n{recipe}"), **flags}
    found, own = recipes.layers("distill", asked)
    assert found.keys() - {"model_settings", "recipe"} == kept
    plan_students(recipes.build(DistillConfig, found, own))
