"""Options of `compress distill`, and the list of students they ask for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from compress.config.recipes import build, layers
from compress.config.specs import (
    SOFTENED,
    Frozen,
    LossTerm,
    ModelSpec,
    Reference,
    Scalar,
    StudentSpec,
    each_parsed,
    underscored,
)
from compress.config.train import TrainConfig
from compress.config.training import Fraction, Optimization, Positive, TrainingConfig
from compress.errors import ConfigError, unknown

CE = "ce"
"""The cross-entropy with the true labels, as a term of a sum of losses."""
SUM = " + "
SWEEP_SHORT = {"alpha": "a", "temperature": "t", "learning_rate": "lr", "weight_decay": "wd"}


class DistillConfig(TrainingConfig):
    """Teach students from a teacher, or from its stored soft labels.

    Attributes:
        teacher: Runs, weights files or model names; several are an ensemble. Empty takes the
            newest complete run of `teacher_training`'s model on the same data, or trains one.
        teacher_training: How a missing teacher is trained.
        unlabelled: More images for the teacher to answer: a name, whose training images are taken,
            or a folder. Their labels, if they have any, are not used.
        student: What to train.
        alpha: Share of `kd` in (1 - alpha) * CE + alpha * kd.
        alpha_from: What alpha begins at, for one that moves in a straight line.
        alpha_ramp_epochs: Epochs in which alpha goes from `alpha_from` to its value.
        temperature: Softening of `kd`.
        loss: A sum of terms instead of alpha and temperature, also written as one:
            `ce:weight=0.1 + kd:weight=0.9`. A term `ce`, with a weight and perhaps a ramp, is the
            cross-entropy.
        ce_weight: Weight of the cross-entropy with the true labels, beside `loss`.
        sweep: Option name to values; every student is crossed with them. A swept loss may be a
            sum: `ce:weight=0.1 + kd:weight=0.9`.
        control: Train each student without a teacher beside the taught ones.
        ensemble: Average the students of one run and report the average as a row.
        group: Students trained at the same time; None is all of them.
        soft_labels: Folder of stored soft labels; None is the user's cache.
        soft_labels_limit_mib: Size the folder may grow to, in MiB.
    """

    teacher: tuple[Reference, ...] = ()
    teacher_training: TrainConfig | None = None
    unlabelled: str | None = None
    student: tuple[StudentSpec, ...] = (
        StudentSpec(model=ModelSpec(name="mobilenet_v2")),
        StudentSpec(model=ModelSpec(name="small_cnn")),
    )
    alpha: Fraction | None = None
    alpha_from: Fraction | None = None
    alpha_ramp_epochs: Annotated[int | None, Field(ge=1)] = None
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
        return each_parsed(value, Reference.parse)

    @field_validator("student", mode="before")
    @classmethod
    def _parse_students(cls, value: Any) -> Any:
        return each_parsed(value, StudentSpec.parse)

    @field_validator("loss", mode="before")
    @classmethod
    def _parse_losses(cls, value: Any) -> Any:
        parsed = each_parsed(value, _sum)
        if not isinstance(parsed, tuple):
            return parsed
        sums = (item if isinstance(item, tuple) else (item,) for item in parsed)
        return tuple(term for terms in sums for term in terms)

    @field_validator("sweep", mode="before")
    @classmethod
    def _spell_sweep(cls, value: Any) -> Any:
        return underscored(value, "--sweep") if isinstance(value, Mapping) else value

    @field_validator("sweep")
    @classmethod
    def _sweep_has_values(
        cls, sweep: dict[str, tuple[Scalar, ...]]
    ) -> dict[str, tuple[Scalar, ...]]:
        for key, values in sweep.items():
            if not values or "" in values:
                raise ValueError(f"{key} has an empty list or entry")
        return sweep

    @model_validator(mode="after")
    def _one_way_to_weigh(self) -> Self:
        swept = self.sweep.keys()
        by_loss = bool(self.loss) or "loss" in swept
        if by_loss and (self.alpha is not None or self.temperature is not None):
            raise ValueError(
                "--loss and --alpha/--temperature are two ways to say it: "
                "use --loss kd:temperature=4,weight=0.9 with --ce-weight 0.1"
            )
        if by_loss and "alpha" in swept:
            raise ValueError(
                "--loss and --sweep alpha are two ways to say it: leave --loss out, or use "
                "--sweep 'loss=ce:weight=0.7 + kd:weight=0.3; ce:weight=0.1 + kd:weight=0.9'"
            )
        if not by_loss and (self.ce_weight is not None or "ce_weight" in swept):
            raise ValueError("--ce-weight goes with --loss; with --alpha it is 1 - alpha")
        if (self.alpha_from is None) != (self.alpha_ramp_epochs is None):
            raise ValueError("alpha_from and alpha_ramp_epochs go together")
        if self.alpha_from is not None and by_loss:
            raise ValueError("alpha_from goes with alpha; a loss has ramp_epochs and ramp_from")
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
    both = {"data", "recipe", "device", "data_dir", "image_size", "split_seed", "amp", "workers"}
    both |= {"checkpoint_every", "sync_batchnorm"}
    shared = {key: value for key, value in flags.items() if key in both}
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
        ce_from: What that weight begins at, where it has a ramp.
        ce_ramp_epochs: Epochs in which it goes in a straight line from `ce_from` to `ce_weight`.
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
    ce_from: float = 0.0
    ce_ramp_epochs: int = 0
    terms: tuple[LossTerm, ...]
    control: str | None = None


@dataclass(frozen=True)
class Weighing:
    """What a plan says of its losses; the attributes are StudentPlan's."""

    ce_weight: float
    terms: tuple[LossTerm, ...] = ()
    ce_from: float = 0.0
    ce_ramp_epochs: int = 0


def _weighing(config: DistillConfig, swept: dict[str, Scalar]) -> Weighing:
    """How one point of a sweep weighs its losses."""
    asked = _asked(config, swept)
    if asked:
        return _weigh_sum(config, asked, swept)
    alpha = _alpha(config, swept)
    temperature = swept.get(
        "temperature", 4.0 if config.temperature is None else config.temperature
    )
    if isinstance(alpha, (str, bool)) or not 0 <= alpha <= 1:
        raise ConfigError(f"--sweep alpha={alpha}: alpha lies between 0 and 1")
    if isinstance(temperature, (str, bool)) or temperature <= 0:
        raise ConfigError(f"--sweep temperature={temperature}: a temperature is above 0")
    kd = LossTerm(name="kd", weight=float(alpha), options={"temperature": float(temperature)})
    if config.alpha_from is None or config.alpha_ramp_epochs is None:
        return Weighing(1.0 - float(alpha), (kd,) if alpha > 0 else ())
    if alpha == 0:
        raise ConfigError("alpha 0 ends no ramp: alpha_from is in vain", hint="end at 0.001, say")
    epochs, start = config.alpha_ramp_epochs, config.alpha_from
    kd = kd.model_copy(update={"ramp_epochs": epochs, "ramp_from": start / alpha})
    return Weighing(1.0 - float(alpha), (kd,), ce_from=1.0 - start, ce_ramp_epochs=epochs)


def _alpha(config: DistillConfig, swept: Mapping[str, Scalar]) -> Scalar:
    """The share of kd at a point of a sweep."""
    return swept.get("alpha", 0.9 if config.alpha is None else config.alpha)


def _sum(text: str) -> tuple[LossTerm, ...]:
    """The terms of a sum of losses: `ce:weight=0.1 + kd:weight=0.9`."""
    return tuple(LossTerm.parse(part.strip()) for part in text.split(SUM))


def _asked(config: DistillConfig, swept: Mapping[str, Scalar]) -> tuple[LossTerm, ...]:
    """The sum of losses at a point of a sweep; empty where alpha and temperature say it."""
    return _sum(str(swept["loss"])) if "loss" in swept else config.loss


def _has_temperature(config: DistillConfig, swept: Mapping[str, Scalar]) -> bool:
    """Whether any loss at a point of a sweep has a temperature; an alpha of 0 leaves none."""
    asked = _asked(config, swept)
    if asked:
        return any(term.name in SOFTENED for term in asked)
    return _alpha(config, swept) != 0


def _weigh_sum(
    config: DistillConfig, asked: tuple[LossTerm, ...], swept: dict[str, Scalar]
) -> Weighing:
    """How a sum of losses is weighed: its `ce` apart from the terms that need a teacher."""
    terms = tuple(term for term in asked if term.name != CE)
    if "temperature" in swept:
        terms = tuple(
            term.model_copy(
                update={"options": {**term.options, "temperature": swept["temperature"]}}
            )
            if term.name in SOFTENED
            else term
            for term in terms
        )
    own = [term for term in asked if term.name == CE]
    if own:
        if len(own) > 1 or config.ce_weight is not None or "ce_weight" in swept:
            said = [str(term) for term in own] + ["--ce-weight"] * (len(own) == 1)
            raise ConfigError(
                f"the weight of the cross-entropy is said twice: {' and '.join(said)}",
                hint="say it once, in the sum: --loss 'ce:weight=0.1 + kd:weight=0.9'",
            )
        (ce,) = own
        if ce.options:
            raise ConfigError(
                f"ce has no option {min(ce.options)!r}",
                hint="it has weight, ramp_epochs and ramp_from",
            )
        start, epochs = ce.ramp_from * ce.weight, ce.ramp_epochs or 0
        return Weighing(ce.weight, terms, ce_from=start, ce_ramp_epochs=epochs)
    ce_weight = swept.get("ce_weight", 1.0 if config.ce_weight is None else config.ce_weight)
    if isinstance(ce_weight, (str, bool)) or ce_weight < 0:
        raise ConfigError(f"--sweep ce_weight={ce_weight}: not a weight")
    return Weighing(float(ce_weight), terms)


def _suffix(key: str, value: Scalar, values: Sequence[Scalar]) -> str:
    """How a swept value shows in a label.

    Args:
        key: What is swept.
        value: One of its values.
        values: All of them: losses of one name are told apart by their options.
    """
    if key != "loss":
        return f"{SWEEP_SHORT.get(key, key)}{value}".replace("_", "-")

    def short(text: Scalar) -> str:
        return "-".join(t.name for t in _sum(str(text)) if t.name != CE) or CE

    alike = [short(other) for other in values].count(short(value)) > 1
    return re.sub(r"[^\w.]+|_", "-", str(value) if alike else short(value))


def _points(config: DistillConfig) -> list[dict[str, Scalar]]:
    """The sweep's values crossed; one empty point without a sweep.

    A sum of losses without a temperature, or an alpha of 0, is one point, however many temperatures
    are swept.

    Raises:
        ConfigError: A key is unknown, or temperatures are swept and no loss has one.
    """
    sweepable = ("alpha", "temperature", "loss", "ce_weight", *Optimization.model_fields)
    for key in config.sweep:
        if key not in sweepable:
            raise unknown("sweep key", key, sweepable)
    points: list[dict[str, Scalar]] = []
    for values in product(*config.sweep.values()):
        point = dict(zip(config.sweep, values, strict=True))
        if "temperature" in point and not _has_temperature(config, point):
            del point["temperature"]
            if point in points:
                continue
        points.append(point)
    if "temperature" in config.sweep and not any("temperature" in point for point in points):
        raise ConfigError(
            "--sweep temperature: no loss here has a temperature",
            hint=f"these have one: {', '.join(sorted(SOFTENED))}",
        )
    return points


def plan_students(config: DistillConfig) -> tuple[StudentPlan, ...]:
    """Cross students, sweep and seeds, and put the control of each beside it.

    Raises:
        ConfigError: A sweep key is unknown, a swept value is out of bounds, or two students
            end up with one label.
    """
    names = [spec.label or spec.model.name for spec in config.student]
    plans: list[StudentPlan] = []
    controls: dict[str, StudentPlan] = {}
    for (spec, name), point, seed in product(
        zip(config.student, names, strict=True), _points(config), config.all_seeds
    ):
        unnamed = spec.label is None and names.count(name) > 1
        options = [f"{k}{v}" for k, v in sorted(spec.model.options.items()) if unnamed]
        plan = _plan(config, "-".join([name, *options]), spec.model, point, seed)
        if config.control:
            control = _control(config, "-".join([name, *options]), plan)
            controls[control.label] = control
            plan = plan.model_copy(update={"control": control.label})
        plans.append(plan)
    everyone = (*plans, *controls.values())
    labels = [plan.label for plan in everyone]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(
                f"two students are called {label!r}", hint="name one: --student NAME=MODEL"
            )
    return everyone


def _plan(
    config: DistillConfig, stem: str, model: ModelSpec, point: dict[str, Scalar], seed: int
) -> StudentPlan:
    """A taught student at one point of the sweep."""
    weighing = _weighing(config, point)
    return StudentPlan(
        label=_label(config, stem, point, seed),
        model=model,
        seed=seed,
        role="student",
        settings=point,
        optimization=config.optimization(model.name, **_own(point)),
        ce_weight=weighing.ce_weight,
        ce_from=weighing.ce_from,
        ce_ramp_epochs=weighing.ce_ramp_epochs,
        terms=weighing.terms,
    )


def _control(config: DistillConfig, stem: str, taught: StudentPlan) -> StudentPlan:
    """The same student without a teacher: of a sweep it keeps what changes its optimisation."""
    own = _own(taught.settings)
    return StudentPlan(
        label=_label(config, f"{stem}-control", own, taught.seed),
        model=taught.model,
        seed=taught.seed,
        role="control",
        settings=own,
        optimization=taught.optimization,
        ce_weight=1.0,
        terms=(),
    )


def _own(point: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The part of a point of a sweep that is about the optimisation."""
    return {key: value for key, value in point.items() if key in Optimization.model_fields}


def _label(config: DistillConfig, stem: str, point: Mapping[str, Scalar], seed: int) -> str:
    """What was swept and, where there are several, the seed, after a student's name."""
    swept = [_suffix(key, value, config.sweep[key]) for key, value in point.items()]
    return "-".join([stem, *swept, *([f"s{seed}"] if len(config.all_seeds) > 1 else [])])
