"""What training and distilling share: data, views, optimisation, machine, run directory."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from compress.config.flags import written
from compress.config.recipes import EPOCHS, build
from compress.config.specs import Augmentation, Frozen, Reference, underscored
from compress.errors import ConfigError

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
NONE = "none"
"""Initial weights that are not there, where a recipe names some."""
READ_BY = {
    "warmup_epochs": ("cosine", "multi-step"),
    "milestones": ("multi-step",),
    "gamma": ("multi-step",),
}
"""The schedules that look at a setting, where not all of them do."""


class Optimization(Frozen):
    """How one model's weights are changed.

    Attributes:
        optimizer: SGD with Nesterov momentum, or AdamW.
        learning_rate: Peak learning rate.
        momentum: SGD's momentum; AdamW's beta1.
        weight_decay: Applied to everything but biases and BatchNorm.
        schedule: cosine (to 0), one-cycle (up over 30%, then to 0), or multi-step.
        warmup_epochs: Linear rise from 0 at the start, for cosine and multi-step; in epochs. That
            of a recipe shrinks with them where `--epochs` asks for fewer.
        milestones: Where multi-step multiplies by `gamma`, as fractions of all epochs.
        gamma: Factor of multi-step.
        label_smoothing: Of the cross-entropy with the true labels.
        ema_decay: Decay per step of an exponential moving average of the weights; 0 is off. The
            average is what is evaluated and kept. At first it is the plain mean over the steps.
        clip_norm: Largest norm of the gradient; 0 is off.
        select: Whose weights are kept: of the epoch with the best validation accuracy, or of the
            last one.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Positive = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["cosine", "one-cycle", "multi-step"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    milestones: tuple[Fraction, ...] = (0.5, 0.75)
    gamma: Positive = 0.1
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    select: Literal["best", "last"] = "best"

    def looks_at(self, setting: str) -> bool:
        """Whether a setting changes anything with this schedule."""
        return self.schedule in READ_BY.get(setting, (self.schedule,))

    def too_long_a_warmup(self, epochs: int) -> str:
        """What is wrong with a warm-up that takes all epochs; empty where it does not."""
        if not self.looks_at("warmup_epochs") or self.warmup_epochs < epochs:
            return ""
        return f"warmup_epochs {self.warmup_epochs:g} leaves nothing of {epochs} epochs"


class TrainingConfig(Optimization):
    """The options that `train` and `distill` share; the optimisation is every model's default.

    Attributes:
        data: `digits`, `cifar10`, `cifar100`, or a folder of train/<class>/* and test/<class>/*.
        data_dir: Where CIFAR lies or is downloaded to.
        image_size: Side the images are resized to, in pixels; None leaves them as they are.
        validation_fraction: Share of the training images held out, stratified by class.
        split_seed: Names the validation split.
        view_seed: Names the family of views.
        views: Number of views; epoch e uses view e mod views. None is one per epoch.
        augmentation: What a view does to each image.
        initial_weights: Weights the models begin with: a run, whose model of the same label is
            taken, `RUN:student=LABEL`, or a weights file. `none` draws them by the seed.
        normalization: What the models trained here subtract from the images and divide them by:
            `data` is what is measured on the training images; else a name such as `imagenet`.
        epochs: Sweeps over the training images.
        batch_size: Images per step.
        seed: Initialisation and dropout.
        seeds: Several seeds in one run, instead of `seed`.
        model_settings: Optimisation by model name, over the shared one.
        device: `auto` takes CUDA where there is one.
        amp: Number format of the forward and backward passes; `auto` measures.
        workers: Threads that prepare batches; 0 leaves it to the device.
        sync_batchnorm: Take BatchNorm's statistics over all ranks instead of each rank's own share
            of the batch; on CUDA.
        checkpoint_every: Steps between checkpoints inside an epoch; 0 is at its end only.
        run_dir: Replaces runs/<id>.
        resume: A run to continue; its own configuration must agree with the flags.
        restart: Begin anew instead of resuming or showing what is there.
        tensorboard: Write TensorBoard event files into the run.
        recipe: Where values come from that no flag gave; None is the defaults.
    """

    data: str = "digits"
    data_dir: Path | None = None
    image_size: Annotated[int | None, Field(ge=4, le=1024)] = None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    split_seed: Seed = 0
    view_seed: Seed = 0
    views: Annotated[int | None, Field(ge=1)] = None
    augmentation: Augmentation = Augmentation()
    initial_weights: Reference | None = None
    normalization: str = "data"
    epochs: Annotated[int, Field(ge=1)] = EPOCHS
    batch_size: Annotated[int, Field(ge=1)] = 128
    seed: Seed = 0
    seeds: tuple[Seed, ...] | None = None
    model_settings: dict[str, dict[str, Any]] = {}
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    workers: Annotated[int, Field(ge=0)] = 0
    sync_batchnorm: bool = False
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    run_dir: Path | None = None
    resume: str | None = None
    restart: bool = False
    tensorboard: bool = False
    recipe: str | None = None

    @model_validator(mode="after")
    def _paths_can_be_written(self) -> Self:
        for name, value in self:
            for one in value if isinstance(value, tuple) else (value,):
                text = str(one) if isinstance(one, str | Path | Reference) else ""
                if text.encode("utf-8", "replace").decode() != text:
                    raise ConfigError(
                        f"{written(name)} {text!a}: the name is not UTF-8", hint="rename it"
                    )
        return self

    @field_validator("initial_weights", mode="before")
    @classmethod
    def _parse_initial_weights(cls, value: Any) -> Any:
        if value == NONE:  # against a recipe's
            return None
        return Reference.parse(value) if isinstance(value, str) else value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if seeds is not None and (not seeds or len(set(seeds)) != len(seeds)):
            raise ValueError("seeds must be different numbers, at least one")
        return seeds

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if too_long := self.too_long_a_warmup(self.epochs):
            raise ValueError(too_long)
        return self

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds to train with."""
        return self.seeds if self.seeds is not None else (self.seed,)

    def optimization(self, model: str, **overrides: Any) -> Optimization:
        """The settings of one model: the shared ones, its own, then the overrides (a sweep's).

        Raises:
            ConfigError: One is unknown (the known ones are listed), out of bounds, or there in both
                spellings, or its warm-up leaves nothing of the epochs.
        """
        shared = {name: getattr(self, name) for name in Optimization.model_fields}
        own = self.own_settings(model)
        found = build(Optimization, shared, own, overrides)
        if too_long := found.too_long_a_warmup(self.epochs):
            raise ConfigError(f"{model}: {too_long}")
        return found

    def own_settings(self, model: str) -> dict[str, Any]:
        """What `model_settings` says of one model, its keys with underscores.

        Raises:
            ConfigError: One is unknown, out of bounds, or there in both spellings.
        """
        place = f"model-settings of {model}:"
        own = underscored(self.model_settings.get(model, {}), place)
        try:
            build(Optimization, own)
        except ConfigError as error:
            error.retell(f"{place} {error.message}", hint=error.hint)
            raise
        return own
