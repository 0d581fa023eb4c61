"""Options of `compress export`."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from compress.config.specs import Frozen, Reference
from compress.errors import ConfigError

Precision = Literal["fp32", "fp16", "int8"]


class ExportConfig(Frozen):
    """Turn a run's models, or one weights file, into checked ONNX artifacts.

    Attributes:
        source: A complete run, `last`, or a weights file with its options.
        student: Labels to export; empty takes every student that is no control.
        teacher: Also export the teacher of the run.
        data: Images of a weights file, or another place for a run's folder of images.
        data_dir: Where CIFAR lies.
        out: Replaces exported/<id>.
        precision: Forms to write; fp32 is always among them.
        target: The CPUs int8 is for. `portable` keeps weights to 7 bits, so that no CPU saturates.
        input: Pixels as a camera gives them, or normalised floats.
        batch: Images per call.
        output: What the graph answers.
        top_k: Classes that `top-k` answers.
        ort: Also write each form in ONNX Runtime's own format.
        max_quant_drop: Largest top-1 that int8 may lose against fp32, a fraction.
        calibration_images: Training images that the int8 ranges are measured on; unless it is
            given, all where there are fewer.
        force: Replace an artifact of another run.
    """

    source: Reference
    student: tuple[str, ...] = ()
    teacher: bool = True
    data: str | None = None
    data_dir: Path | None = None
    out: Path | None = None
    precision: tuple[Precision, ...] = ("fp32", "int8")
    target: Literal["portable", "vnni", "arm64"] = "portable"
    input: Literal["uint8-nhwc", "float-nchw"] = "uint8-nhwc"
    batch: Literal["1", "dynamic"] = "1"
    output: Literal["logits", "softmax", "top-k"] = "logits"
    top_k: Annotated[int, Field(ge=1)] = 5
    ort: bool = False
    max_quant_drop: Annotated[float, Field(ge=0, le=1)] = 0.01
    calibration_images: Annotated[int, Field(ge=1)] = 300
    force: bool = False

    @field_validator("source", mode="before")
    @classmethod
    def _parse_source(cls, value: Any) -> Any:
        return Reference.parse(value) if isinstance(value, str) else value

    @field_validator("student", mode="before")
    @classmethod
    def _one_student(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("precision", mode="before")
    @classmethod
    def _one_precision(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("batch", mode="before")
    @classmethod
    def _batch_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _k_goes_with_its_output(self) -> Self:
        if "top_k" in self.model_fields_set and self.output != "top-k":
            raise ConfigError(
                f"--top-k {self.top_k} has no meaning with --output {self.output}",
                hint="add --output top-k",
            )
        return self

    @model_validator(mode="after")
    def _something_to_write(self) -> Self:
        if not self.precision:
            raise ValueError("precision must name at least one of fp32, int8, fp16")
        if len(set(self.precision)) != len(self.precision):
            raise ValueError(f"precision names one twice: {', '.join(self.precision)}")
        return self
