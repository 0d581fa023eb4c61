"""Options of `compress distill`, and the list of students they ask for."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from compress.config.recipes import build, config_error, layers
from compress.config.specs import Frozen, LossTerm, ModelSpec, Reference, Scalar, StudentSpec
from compress.config.train import TrainConfig
from compress.config.training import Fraction, Optimization, Positive, TrainingConfig
from compress.errors import ConfigError, unknown

SWEEP_SHORT = {"alpha": "a", "temperature": "t", "learning_rate": "lr", "weight_decay": "wd"}


class DistillConfig(TrainingConfig):
    """Teach students from a teacher, or from its stored soft labels.

    Attributes:
        teacher: Runs, weights files or model names; several are an ensemble. Empty takes the
            newest complete run of `teacher_training`'s model on the same data, or trains one.
        teacher_training: How a missing teacher is trained.
        student: What to train.
        alpha: Share of `kd` in (1 - alpha) * CE + alpha * kd.
        temperature: Softening of `kd`.
        loss: A sum of terms instead of alpha and temperature.
        ce_weight: Weight of the cross-entropy with the true labels, beside `loss`.
        sweep: Option name to values; every student is crossed with them.
        control: Train each student without a teacher beside the taught ones.
        ensemble: Average the students of one run and report the average as a row.
        group: Students trained at the same time; None is all of them.
        soft_labels: Folder of stored soft labels; None is the user's cache.
        soft_labels_limit_mib: Size the folder may grow to, in MiB.
    """

    teacher: tuple[Reference, ...] = ()
    teacher_training: TrainConfig | None = None
    student: tuple[StudentSpec, ...] = (
        StudentSpec(model=ModelSpec(name="mobilenet_v2")),
        StudentSpec(model=ModelSpec(name="small_cnn")),
    )
    alpha: Fraction | None = None
    temperature: Positive | None = None
    loss: tuple[LossTerm, ...] = ()
    ce_weight: Annotated[float, Field(ge=0)] | None = None
    sweep: dict[str, tuple[Scalar, ...]] = {}
    control: bool = True
    ensemble: bool = False
    group: Annotated[int | None, Field(ge=1)] = None
    soft_labels: Path | None = None
    soft_labels_limit_mib: Annotated[int, Field(ge=1)] = 4096

    @field_validator("teacher", mode="before")
    @classmethod
    def _parse_teachers(cls, value: Any) -> Any:
        items = [value] if isinstance(value, str) else value
        return tuple(Reference.parse(item) if isinstance(item, str) else item for item in items)

    @field_validator("student", mode="before")
    @classmethod
    def _parse_students(cls, value: Any) -> Any:
        items = [value] if isinstance(value, str) else value
        return tuple(StudentSpec.parse(item) if isinstance(item, str) else item for item in items)

    @field_validator("loss", mode="before")
    @classmethod
    def _parse_losses(cls, value: Any) -> Any:
        items = [value] if isinstance(value, str) else value
        return tuple(LossTerm.parse(item) if isinstance(item, str) else item for item in items)

    @model_validator(mode="after")
    def _one_way_to_weigh(self) -> Self:
        if self.loss and (self.alpha is not None or self.temperature is not None):
            raise ValueError(
                "--loss and --alpha/--temperature are two ways to say it: "
                "use --loss kd:temperature=4,weight=0.9 with --ce-weight 0.1"
            )
        if self.ce_weight is not None and not self.loss and "loss" not in self.sweep:
            raise ValueError("--ce-weight goes with --loss; with --alpha it is 1 - alpha")
        if not self.student:
            raise ValueError("no student to train")
        return self


def distill_config(flags: Mapping[str, Any]) -> DistillConfig:
    """The configuration of flags over recipe over defaults, the missing teacher's included.

    Args:
        flags: What the user gave, by configuration key.

    Raises:
        ConfigError: A recipe, key or value is unknown or out of bounds.
    """
    places = ("data", "recipe", "device", "data_dir", "image_size", "split_seed")
    shared = {key: value for key, value in flags.items() if key in places}
    training = build(TrainConfig, *layers("train", shared))
    return build(DistillConfig, {"teacher_training": training}, *layers("distill", flags))


class StudentPlan(Frozen):
    """One model to train in a distillation run, everything resolved.

    Attributes:
        label: Names its files and its row.
        model: The model and its options as asked.
        seed: Initialisation and dropout.
        role: A control learns from the labels only.
        settings: What was swept, by option name.
        optimization: How its weights are changed.
        ce_weight: Weight of the cross-entropy.
        terms: The distillation losses; empty for a control.
        control: Label of the control it is compared with; None for controls and without one.
    """

    label: str
    model: ModelSpec
    seed: int
    role: Literal["student", "control"]
    settings: dict[str, Scalar] = {}
    optimization: Optimization
    ce_weight: float
    terms: tuple[LossTerm, ...]
    control: str | None = None


def _objective(
    config: DistillConfig, swept: dict[str, Scalar]
) -> tuple[float, tuple[LossTerm, ...]]:
    """The weight of the cross-entropy and the terms, for one point of a sweep."""
    if "loss" in swept or config.loss:
        terms = (LossTerm.parse(str(swept["loss"])),) if "loss" in swept else config.loss
        if "temperature" in swept:
            terms = tuple(
                term.model_copy(
                    update={"options": {**term.options, "temperature": swept["temperature"]}}
                )
                for term in terms
            )
        ce_weight = swept.get("ce_weight", 1.0 if config.ce_weight is None else config.ce_weight)
        if isinstance(ce_weight, (str, bool)) or ce_weight < 0:
            raise ConfigError(f"--sweep ce_weight={ce_weight}: not a weight")
        return float(ce_weight), terms
    alpha = swept.get("alpha", 0.9 if config.alpha is None else config.alpha)
    temperature = swept.get(
        "temperature", 4.0 if config.temperature is None else config.temperature
    )
    if isinstance(alpha, (str, bool)) or not 0 <= alpha <= 1:
        raise ConfigError(f"--sweep alpha={alpha}: alpha lies between 0 and 1")
    if isinstance(temperature, (str, bool)) or temperature <= 0:
        raise ConfigError(f"--sweep temperature={temperature}: a temperature is above 0")
    terms = (
        (LossTerm(name="kd", weight=float(alpha), options={"temperature": float(temperature)}),)
        if alpha > 0
        else ()
    )
    return 1.0 - float(alpha), terms


def _suffix(key: str, value: Scalar) -> str:
    """How a swept value shows in a label."""
    text = str(value).partition(":")[0] if key == "loss" else f"{SWEEP_SHORT.get(key, key)}{value}"
    return text.replace("_", "-")


def plan_students(config: DistillConfig) -> tuple[StudentPlan, ...]:
    """Cross students, sweep and seeds, and put the control of each beside it.

    Raises:
        ConfigError: A sweep key is unknown, a swept value is out of bounds, or two students
            end up with one label.
    """
    sweepable = ("alpha", "temperature", "loss", "ce_weight", *Optimization.model_fields)
    keys = [key.replace("-", "_") for key in config.sweep]
    for key in keys:
        if key not in sweepable:
            raise unknown("sweep key", key, sweepable)
    points = [dict(zip(keys, values, strict=True)) for values in product(*config.sweep.values())]
    names = [spec.label or spec.model.name for spec in config.student]
    seeds = config.all_seeds
    plans: list[StudentPlan] = []
    controls: dict[str, StudentPlan] = {}
    for spec, name in zip(config.student, names, strict=True):
        unnamed = spec.label is None and names.count(name) > 1
        stem = "-".join(
            [name, *(f"{k}{v}" for k, v in sorted(spec.model.options.items()) if unnamed)]
        )
        for point, seed in product(points, seeds):
            ce_weight, terms = _objective(config, point)
            own = {key: value for key, value in point.items() if key in Optimization.model_fields}
            try:
                optimization = config.optimization(spec.model.name, **own)
            except ValidationError as error:
                raise config_error(Optimization, error) from error
            tail = [f"s{seed}"] if len(seeds) > 1 else []
            plan = StudentPlan(
                label="-".join([stem, *(_suffix(k, v) for k, v in point.items()), *tail]),
                model=spec.model,
                seed=seed,
                role="student",
                settings=point,
                optimization=optimization,
                ce_weight=ce_weight,
                terms=terms,
            )
            if config.control:
                control_label = "-".join(
                    [stem, "control", *(_suffix(k, v) for k, v in own.items()), *tail]
                )
                controls[control_label] = plan.model_copy(
                    update={
                        "label": control_label,
                        "role": "control",
                        "settings": own,
                        "ce_weight": 1.0,
                        "terms": (),
                    }
                )
                plan = plan.model_copy(update={"control": control_label})
            plans.append(plan)
    everyone = (*plans, *controls.values())
    labels = [plan.label for plan in everyone]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(
                f"two students are called {label!r}", hint="name one: --student NAME=MODEL"
            )
    return everyone
