"""Options that train and distill share."""

import pytest
from pydantic import ValidationError

from compress.config.training import TrainingConfig
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
    with pytest.raises(ConfigError, match="unknown recipe key 'rate'") as caught:
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
