"""Options that train and distill share."""

import os

import pytest
from pydantic import ValidationError

from compress.config.training import Optimization, TrainingConfig
from compress.errors import ConfigError


def test_a_models_own_settings_come_over_the_shared_ones() -> None:
    config = TrainingConfig(
        learning_rate=0.1, model_settings={"mobilenet_v2": {"learning-rate": 0.02}}
    )
    assert config.optimization("mobilenet_v2").learning_rate == 0.02
    assert config.optimization("small_cnn").learning_rate == 0.1


def test_a_swept_value_comes_over_everything() -> None:
    config = TrainingConfig(model_settings={"small_cnn": {"learning_rate": 0.02}})
    assert config.optimization("small_cnn", learning_rate=0.3).learning_rate == 0.3


def test_an_unknown_or_impossible_setting_of_a_model_is_refused() -> None:
    config = TrainingConfig(model_settings={"a": {"rate": 1}, "b": {"learning_rate": -1}})
    with pytest.raises(
        ConfigError, match=r"^model-settings of a: unknown recipe key 'rate'$"
    ) as caught:
        config.optimization("a")
    assert "learning_rate" in caught.value.hint
    with pytest.raises(ConfigError, match=r"--learning-rate -1: .*greater than 0"):
        config.optimization("b")


def test_one_seed_unless_there_are_several() -> None:
    assert TrainingConfig(seed=3).all_seeds == (3,)
    assert TrainingConfig(seeds=(1, 2)).all_seeds == (1, 2)


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_must_differ(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="different numbers"):
        TrainingConfig(seeds=seeds)


def test_warm_up_must_leave_something_to_train() -> None:
    assert TrainingConfig(epochs=3, warmup_epochs=2).warmup_epochs == 2
    with pytest.raises(ValidationError, match="leaves nothing of 3 epochs"):
        TrainingConfig(epochs=3, warmup_epochs=3)


def test_a_schedule_that_has_none_may_have_any_warm_up() -> None:
    assert TrainingConfig(epochs=3, warmup_epochs=3, schedule="one-cycle").warmup_epochs == 3


def test_also_in_the_settings_of_a_model_and_in_a_sweep() -> None:
    config = TrainingConfig(epochs=3, model_settings={"small_cnn": {"warmup_epochs": 3}})
    assert config.optimization("small_cnn", warmup_epochs=2).warmup_epochs == 2
    for model, swept in (("small_cnn", {}), ("resnet18", {"warmup_epochs": 4})):
        with pytest.raises(ConfigError, match=rf"^{model}: warmup_epochs \d leaves nothing of 3"):
            config.optimization(model, **swept)


def test_not_every_schedule_looks_at_every_setting() -> None:
    def idle(schedule: str) -> set[str]:
        settings = Optimization.model_validate({"schedule": schedule})
        return {name for name in Optimization.model_fields if not settings.looks_at(name)}

    assert idle("multi-step") == set()
    assert idle("cosine") == {"milestones", "gamma"}
    assert idle("one-cycle") == {"milestones", "gamma", "warmup_epochs"}


@pytest.mark.parametrize("name", ["data_dir", "run_dir", "resume"])
def test_a_name_that_no_manifest_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="the name is not UTF-8") as caught:
        TrainingConfig.model_validate({name: os.fsdecode(b"donn\xe9es")})
    assert caught.value.message.startswith(f"--{name.replace('_', '-')} ")
