"""Options of `compress predict`."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from compress.config.specs import Frozen


class PredictConfig(Frozen):
    """Classify pictures with an artifact.

    Attributes:
        artifact: An artifact folder, a model file, a run or `last`.
        images: Pictures of any size, or folders of them.
        student: Which one, where the place holds several.
        precision: Which form; None takes int8 where there is one, else the first.
        top_k: Classes to name for each picture.
        provider: Execution provider of ONNX Runtime.
    """

    artifact: str
    images: tuple[Path, ...]
    student: str | None = None
    precision: Literal["fp32", "fp16", "int8"] | None = None
    top_k: Annotated[int, Field(ge=1)] = 5
    provider: str = "CPUExecutionProvider"

    @model_validator(mode="after")
    def _something_to_see(self) -> Self:
        if not self.images:
            raise ValueError("images must name at least one picture or folder")
        return self
