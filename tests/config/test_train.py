"""Options of `compress train`."""

from compress.config.specs import ModelSpec
from compress.config.train import TrainConfig


def test_the_model_is_written_as_on_the_command_line() -> None:
    config = TrainConfig.model_validate({"model": "mobilenet_v2:width=0.5"})
    assert config.model == ModelSpec(name="mobilenet_v2", options={"width": 0.5})


def test_the_default_is_the_default_teacher() -> None:
    assert str(TrainConfig().model) == "resnet50"
