"""Small values that configurations are made of, and how they are written on a command line."""

from collections.abc import Callable, Mapping
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from compress.errors import ConfigError

Scalar = bool | int | float | str
Value = TypeVar("Value")
OWN_RAMP = frozenset({"dkd"})
"""Losses whose weight rises by itself unless it is told how."""
SOFTENED = frozenset({"kd", "logit_std", "dkd", "dist"})
"""Losses that have a temperature."""
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".th", ".bin")
"""How a reference ends that is a weights file, whether the file is there or not."""


class Frozen(BaseModel):
    """The parent of every configuration value: immutable, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def parse_scalar(text: str) -> Scalar:
    """Read a value as a person writes it: `true`, `3`, `0.5`, else the text itself."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def each_parsed(value: object, parse: Callable[[str], object]) -> object:
    """One value or several, those that are text parsed; what is neither stays, to be refused.

    Args:
        value: As a flag or a recipe gives it.
        parse: Reads one text.
    """
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        return value
    return tuple(parse(item) if isinstance(item, str) else item for item in items)


def split_options(text: str) -> tuple[str, dict[str, Scalar]]:
    """Split `NAME:key=value,key=value` into the name and its options.

    The options are what follows the last colon whose segment holds `=`, so a path may hold colons.

    Raises:
        ConfigError: An option has no key or is written twice.
    """
    head, colon, tail = text.rpartition(":")
    if not colon or "=" not in tail:
        return text, {}
    options: dict[str, Scalar] = {}
    for part in tail.split(","):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key or not value:
            raise ConfigError(
                f"option {part!r} in {text!r} is not key=value",
                hint="write NAME:key=value,key=value",
            )
        if key in options:
            raise ConfigError(f"option {key!r} is written twice in {text!r}")
        options[key] = parse_scalar(value.strip())
    return head, options


def format_options(options: Mapping[str, Scalar]) -> str:
    """The inverse of the tail of `split_options`: `key=value,key=value`, keys sorted."""

    def text(value: Scalar) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    return ",".join(f"{key}={text(value)}" for key, value in sorted(options.items()))


def underscored(table: Mapping[str, Value], name: str) -> dict[str, Value]:
    """A table whose keys are written `learning_rate`, also where they came as `learning-rate`.

    Args:
        table: With keys in either spelling.
        name: What it is called in messages.

    Raises:
        ConfigError: A key is there in both spellings.
    """
    found: dict[str, Value] = {}
    for key, value in table.items():
        written = key.replace("-", "_")
        if written in found:
            raise ConfigError(f"{name} {written} is given twice", hint="write it once")
        found[written] = value
    return found


class ModelSpec(Frozen):
    """A model name with its options: `mobilenet_v2:width=0.5`."""

    name: str
    options: dict[str, Scalar] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME[:option=value,…]`.

        Raises:
            ConfigError: The text is empty or an option is malformed.
        """
        name, options = split_options(text)
        if not name:
            raise ConfigError(f"no model name in {text!r}")
        return cls(name=name, options=options)

    def __str__(self) -> str:
        return f"{self.name}:{format_options(self.options)}" if self.options else self.name


class Reference(Frozen):
    """A run, a weights file, an artifact or a model name, with options after it."""

    target: str
    options: dict[str, Scalar] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `TARGET[:option=value,…]`.

        Raises:
            ConfigError: The text is empty or an option is malformed.
        """
        target, options = split_options(text)
        if not target:
            raise ConfigError(f"nothing before the options in {text!r}")
        return cls(target=target, options=options)

    def __str__(self) -> str:
        return f"{self.target}:{format_options(self.options)}" if self.options else self.target


class StudentSpec(Frozen):
    """A student to train: `[LABEL=]MODEL[:option=value,…]`."""

    model: ModelSpec
    label: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `[LABEL=]MODEL[:option=value,…]`.

        Raises:
            ConfigError: The label is no file name, or one that is taken; or there are several.
        """
        head, _ = split_options(text)
        label: str | None = None
        if "=" in head:
            label, _, _ = head.partition("=")
            if ":" in label and "," in head:
                raise ConfigError(
                    f"--student {text} names several students",
                    hint="repeat the option: --student MODEL:option=value --student …",
                )
            text = text[len(label) + 1 :]
            if not label[:1].isalnum() or not all(c.isalnum() or c in "-_." for c in label):
                raise ConfigError(
                    f"student label {label!r} is not a file name",
                    hint="use letters, digits, '-', '_' and '.', beginning with a letter or digit",
                )
            if label == "teacher" or label.endswith(".last"):
                raise ConfigError(
                    f"student label {label!r} is taken: it names the teacher's or last weights",
                    hint="choose another name before the =",
                )
        return cls(model=ModelSpec.parse(text), label=label)


class LossTerm(Frozen):
    """One term of a sum of distillation losses: `dkd:weight=1,beta=8`.

    `weight`, 0 or above, multiplies the term; over the first `ramp_epochs` epochs it rises linearly
    from `ramp_from * weight` to `weight`. A falling weight has `ramp_from` above 1. Without
    `ramp_epochs` the loss decides: only `dkd` has a ramp of its own, from 0 unless told.
    """

    name: str
    weight: Annotated[float, Field(ge=0)] = 1.0
    ramp_epochs: Annotated[int | None, Field(ge=0)] = None
    ramp_from: Annotated[float, Field(ge=0)] = 0.0
    options: dict[str, Scalar] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME[:weight=W,ramp_epochs=N,ramp_from=F,option=value,…]`.

        Raises:
            ConfigError: The text is malformed or a number is not one.
        """
        name, options = split_options(text)
        own = {
            key: options.pop(key)
            for key in ("weight", "ramp_epochs", "ramp_from")
            if key in options
        }
        for key, value in own.items():
            if isinstance(value, (str, bool)):
                raise ConfigError(f"{key}={value} in {text!r} is not a number")
        try:
            return cls.model_validate({"name": name, "options": options, **own})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = f"{first['loc'][0]} in {text!r}" if first["loc"] else repr(text)
            message = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{place}: {message}") from error

    @model_validator(mode="after")
    def _ramp_does_something(self) -> Self:
        asked = self.model_fields_set
        alone = "ramp_from" in asked and "ramp_epochs" not in asked and self.name not in OWN_RAMP
        if alone or (self.ramp_from and self.ramp_epochs == 0):
            raise ValueError("ramp_from goes with ramp_epochs above 0")
        if self.weight == 0 and self.ramp_epochs:
            raise ValueError("weight 0 ends no ramp; end at 0.001, say")
        return self

    def __str__(self) -> str:
        own: dict[str, Scalar] = {"weight": self.weight} if self.weight != 1.0 else {}
        if self.ramp_epochs is not None:
            own |= {"ramp_epochs": self.ramp_epochs, "ramp_from": self.ramp_from}
        elif self.ramp_from:
            own |= {"ramp_from": self.ramp_from}
        text = format_options({**own, **self.options})
        return f"{self.name}:{text}" if text else self.name


class Augmentation(Frozen):
    """What a view does to each training image; the defaults do nothing.

    Attributes:
        crop_padding: Zero pixels added on every side before a random crop of the original size.
        flip: Mirror left to right with probability 1/2.
        cutout: Side of one square set to mid-grey, in pixels; 0 is none.
        brightness: Factor drawn from [1 - b, 1 + b].
        contrast: Factor drawn from [1 - c, 1 + c].
        saturation: Factor drawn from [1 - s, 1 + s].
        hue: Shift drawn from [-h, h], in turns of the colour circle, at most 0.5.
        rotation: Angle drawn from [-r, r], in degrees.
        randaugment_ops: Number of RandAugment operations per image; 0 is none.
        randaugment_magnitude: Their strength, 0 to 30.
        mixup: Alpha of the Beta distribution of the mixing weight; 0 is no mixup.
        cutmix: Alpha of the Beta distribution of the pasted area; 0 is no cutmix.
    """

    crop_padding: Annotated[int, Field(ge=0, le=64)] = 0
    flip: bool = False
    cutout: Annotated[int, Field(ge=0, le=1024)] = 0
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.0
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    randaugment_ops: Annotated[int, Field(ge=0, le=8)] = 0
    randaugment_magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0

    @property
    def mixes(self) -> bool:
        """Whether images (and labels) of two examples are blended."""
        return self.mixup > 0 or self.cutmix > 0

    @model_validator(mode="after")
    def _one_mixing(self) -> Self:
        if self.mixup > 0 and self.cutmix > 0:
            raise ValueError("mixup and cutmix cannot both be on")
        return self
