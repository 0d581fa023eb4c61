"""Options of `compress soft-labels`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from compress.config.recipes import build, layers
from compress.config.specs import Augmentation, Frozen, Reference, each_parsed
from compress.config.train import TrainConfig
from compress.config.training import Seed


class SoftLabelsConfig(Frozen):
    """Fill views with a teacher's answers ahead of time.

    Attributes:
        teacher: Runs, weights files or model names; several are an ensemble.
        data: As in TrainingConfig, like the options up to `augmentation`.
        data_dir: Where CIFAR lies or is downloaded to.
        image_size: Side the images are resized to, in pixels.
        validation_fraction: Share of the training images held out.
        split_seed: Names the validation split.
        view_seed: Names the family of views.
        views: How many views to fill, from number 0.
        augmentation: What a view does to each image.
        unlabelled: As in DistillConfig.
        batch_size: Images per forward pass of the teacher; no part of the result's name.
        soft_labels: Folder to fill; None is the user's cache.
        soft_labels_limit_mib: Size the folder may grow to, in MiB.
        device: `auto` takes CUDA where there is one.
        amp: Number format of the teacher; `auto` measures, and keeps fp32 where answers differ.
        workers: Threads that prepare batches.
        teacher_training: How the teacher that is looked for where none is named was trained.
    """

    teacher: tuple[Reference, ...] = ()
    data: str = "digits"
    data_dir: Path | None = None
    image_size: Annotated[int | None, Field(ge=4, le=1024)] = None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    split_seed: Seed = 0
    view_seed: Seed = 0
    views: Annotated[int, Field(ge=1)] = 10
    augmentation: Augmentation = Augmentation()
    unlabelled: str | None = None
    batch_size: Annotated[int, Field(ge=1)] = 128
    soft_labels: Path | None = None
    soft_labels_limit_mib: Annotated[int, Field(ge=1)] = 4096
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    workers: Annotated[int, Field(ge=0)] = 0
    teacher_training: TrainConfig = TrainConfig()

    @field_validator("teacher", mode="before")
    @classmethod
    def _parse_teachers(cls, value: Any) -> Any:
        return each_parsed(value, Reference.parse)


def soft_labels_config(flags: Mapping[str, Any]) -> SoftLabelsConfig:
    """The configuration of flags over the recipe's data and distill tables over defaults.

    Only what names a view or finds the teacher is taken from a recipe.

    Args:
        flags: What the user gave, by configuration key.

    Raises:
        ConfigError: A recipe, key or value is unknown or out of bounds.
    """
    recipe, asked = layers("distill", flags)
    known = {key: value for key, value in recipe.items() if key in SoftLabelsConfig.model_fields}
    if known.get("views") is None:
        known["views"] = recipe.get("epochs", SoftLabelsConfig.model_fields["views"].default)
    both = ("data", "recipe", "image_size", "split_seed")
    shared = {key: value for key, value in flags.items() if key in both}
    training = build(TrainConfig, *layers("train", shared))
    return build(SoftLabelsConfig, {"teacher_training": training}, known, asked)
