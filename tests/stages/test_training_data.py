"""The images of a training."""

import pytest

from compress.config.recipes import build
from compress.config.train import TrainConfig
from compress.errors import ConfigError
from compress.progress import Silent
from compress.stages.training_data import load_splits, normalised


def test_models_may_get_a_normalisation_by_name() -> None:
    measured = load_splits(build(TrainConfig, {}), Silent())
    named = load_splits(build(TrainConfig, {"normalization": "imagenet"}), Silent())
    assert named.mean == (0.485, 0.456, 0.406)
    assert named.std == (0.229, 0.224, 0.225)
    assert measured.mean == pytest.approx(measured.train.channel_statistics()[0])
    assert named.sha256 == measured.sha256


def test_an_unknown_normalisation_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown normalization 'tanh'") as caught:
        load_splits(build(TrainConfig, {"normalization": "tanh"}), Silent())
    assert "data" in caught.value.hint
    assert "imagenet" in caught.value.hint


def test_images_in_memory_are_normalised_as_if_they_were_read_anew() -> None:
    config = build(TrainConfig, {"normalization": "imagenet"})
    measured = load_splits(build(TrainConfig, {}), Silent())
    read = load_splits(config, Silent())
    assert (normalised(measured, config).mean, normalised(measured, config).std) == (
        *(read.mean, read.std),
    )
    assert normalised(measured, config).train is measured.train
