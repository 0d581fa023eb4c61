"""What a model file says about itself: the card that travels in its metadata."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationError

from compress.errors import InputError
from compress.records.document import Part

Precision = Literal["fp32", "fp16", "int8"]
Layout = Literal["uint8-nhwc", "float-nchw"]
Output = Literal["logits", "softmax", "top-k"]
Target = Literal["portable", "vnni", "arm64"]
Role = Literal["student", "control", "teacher"]
DataKind = Literal["named", "folder"]

PREFIX = "compress."
NEWEST_FORMAT = 1
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
TEXTS = frozenset(
    {"name", "role", "architecture", "dataset", "dataset_kind", "dataset_sha256"}
    | {"input_layout", "batch", "output", "precision", "target", "weights_sha256"}
)
"""Fields written as they are; the others are written as JSON."""


class ModelCard(Part):
    """What a device needs to know of a model beyond its graph, which it cannot walk.

    Every field that only the exporter knows is None (or empty) for a foreign file.

    Attributes:
        format: Version of these keys.
        name: The model's label in tables.
        role: What it was in its run.
        architecture: Registered model name; None marks a foreign file.
        options: The model's options, all of them.
        dataset: Name of the data it was trained for; of a folder, its last part.
        dataset_kind: Whether that is one of the program's own data sets, or a folder of the user's.
        dataset_sha256: Of the test images at this size, by which they are known again.
        class_names: One per output, in order.
        image_size: Side of the input, in pixels.
        channels: Colour channels.
        mean: Per channel, of pixels on a scale of 0 to 1; float-nchw input has it subtracted.
        std: Per channel, on the same scale; float-nchw input is divided by it.
        input_layout: uint8-nhwc takes pixels and normalises them in the graph.
        batch: Images per call: exactly one, or any number.
        output: What the graph answers.
        top_k: How many classes a top-k graph answers.
        precision: Number format of the arithmetic.
        target: What an int8 graph was quantized for.
        parameters: Numbers the float model learned.
        macs: Multiply-accumulates of one image in the float model.
        weight_bytes: Read for the weights of convolutions and linear layers at this precision.
        activation_bytes: Read and written by these layers for one image at this precision.
        quantized_adds: Residual adds computed in int8, which round differently between CPUs.
        kept_float: Convolutions and linear layers of an int8 graph left in float on purpose.
        logit_step: Distance of two neighbouring logits of an int8 graph; None where they are float.
        weights_sha256: Of the weights the graph was made from.
    """

    format: int = NEWEST_FORMAT
    name: str
    role: Role = "student"
    architecture: str | None = None
    options: dict[str, bool | int | float | str] = {}
    dataset: str | None = None
    dataset_kind: DataKind | None = None
    dataset_sha256: str | None = None
    class_names: tuple[str, ...] = ()
    image_size: Annotated[int, Field(ge=1)]
    channels: Annotated[int, Field(ge=1)] = 3
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    input_layout: Layout = "uint8-nhwc"
    batch: Literal["1", "dynamic"] = "1"
    output: Output = "logits"
    top_k: Annotated[int, Field(ge=1)] | None = None
    precision: Precision = "fp32"
    target: Target | None = None
    parameters: int | None = None
    macs: int | None = None
    weight_bytes: int | None = None
    activation_bytes: int | None = None
    quantized_adds: int | None = None
    kept_float: int | None = None
    logit_step: float | None = None
    weights_sha256: str | None = None

    @property
    def foreign(self) -> bool:
        """Whether the file came from elsewhere, so that only its input and output are known."""
        return self.architecture is None

    @property
    def classes(self) -> int:
        """How many classes it tells apart; 0 when it does not say."""
        return len(self.class_names)

    @property
    def exact(self) -> bool:
        """Whether its int8 logits are the same on every CPU that computes as its target does."""
        integers = not self.quantized_adds and not self.kept_float and self.logit_step is not None
        return self.precision == "int8" and integers

    def to_metadata(self) -> dict[str, str]:
        """The card as ONNX `metadata_props`: one key per field that has a value."""
        return {
            PREFIX + field: value if isinstance(value, str) else json.dumps(value)
            for field, value in self.model_dump(mode="json").items()
            if value is not None
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, source: str) -> Self | None:
        """Read a card from `metadata_props`.

        Args:
            metadata: All keys of the file, foreign ones included.
            source: The file, for messages.

        Returns:
            The card, or None when the file has no key of ours.

        Raises:
            InputError: A key is damaged, missing, or of a newer version of this program.
        """
        own = {
            key.removeprefix(PREFIX): value
            for key, value in metadata.items()
            if key.startswith(PREFIX)
        }
        if "format" not in own:
            return None
        if own["format"] != str(NEWEST_FORMAT):
            raise InputError(
                f"{source} has metadata of format {own['format']}, "
                f"this version reads {NEWEST_FORMAT}",
                hint="export it again with this version, or update compress",
            )
        try:
            fields: dict[str, Any] = {
                field: own[field] if field in TEXTS else json.loads(own[field])
                for field in cls.model_fields
                if field in own
            }
            return cls.model_validate(fields)
        except (ValidationError, json.JSONDecodeError) as error:
            reason = (
                f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}"
                if isinstance(error, ValidationError)
                else str(error)
            )
            raise InputError(
                f"{source} has damaged metadata: {reason}", hint="export it again"
            ) from error
