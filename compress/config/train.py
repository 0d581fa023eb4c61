"""Options of `compress train`."""

from typing import Any

from pydantic import field_validator

from compress.config.specs import ModelSpec
from compress.config.training import TrainingConfig


class TrainConfig(TrainingConfig):
    """Train one model on labels alone.

    Attributes:
        model: What to train.
    """

    model: ModelSpec = ModelSpec(name="resnet50")

    @field_validator("model", mode="before")
    @classmethod
    def _parse_model(cls, value: Any) -> Any:
        return ModelSpec.parse(value) if isinstance(value, str) else value
