"""The distillation losses by name: their options, what they need, and how to build one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from compress.config.specs import OWN_RAMP, LossTerm, Scalar
from compress.errors import ConfigError, unknown
from compress.models.options import Option

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compress.losses.on_features import Shapes

LOSSES = {
    "kd": "compress.losses.logits:kd",
    "logit_std": "compress.losses.logits:logit_std",
    "dkd": "compress.losses.logits:dkd",
    "dist": "compress.losses.logits:dist",
    "hard": "compress.losses.logits:hard",
    "fitnet": "compress.losses.features:fitnet",
    "attention": "compress.losses.features:attention",
    "rkd": "compress.losses.relations:rkd",
}
SUMMARIES = {
    "kd": "softened class distributions (Hinton et al., 2015)",
    "logit_std": "kd on standardised logits (Sun et al., 2024); weight 9 with ce-weight 0.1",
    "dkd": "target and other classes apart (Zhao et al., 2022); ramps up by itself",
    "dist": "correlations by image and by class (Huang et al., 2022); usual weight 2",
    "hard": "the teacher's decisions as labels (Touvron et al., 2021)",
    "fitnet": "a projected middle feature map (Romero et al., 2015); usual weight 100",
    "attention": "where stages are active (Zagoruyko, Komodakis, 2017); usual weight 1000",
    "rkd": "distances and angles between images (Park et al., 2019)",
}
USUAL_WEIGHTS = {"logit_std": 9.0, "dist": 2.0, "fitnet": 100.0, "attention": 1000.0}
"""Of losses whose authors' weight is far from 1, which is what a term has that says none."""
# Which pairs of stages a loss on features takes unless told.
PAIRS = {"fitnet": "middle", "attention": "all", "rkd": "last"}
ON_MAPS = frozenset({"fitnet", "attention"})
TAKES_LABELS = frozenset({"dkd"})
TAPS = ("student_taps", "teacher_taps")
LEAST_CLASSES = {"logit_std": 3}
"""With fewer a loss has no gradient: two standardised logits are always the same two numbers."""

DKD_RAMP_EPOCHS = 20
DKD_RAMP_SHARE = 4


def _temperature(default: float) -> Option:
    return Option(default, minimum=0.01, maximum=1000.0)


def _weight(default: float) -> Option:
    return Option(default, maximum=1e6)


OPTIONS: dict[str, dict[str, Option]] = {
    "kd": {"temperature": _temperature(4.0)},
    "logit_std": {"temperature": _temperature(2.0)},
    "dkd": {"temperature": _temperature(4.0), "alpha": _weight(1.0), "beta": _weight(8.0)},
    "dist": {"temperature": _temperature(1.0), "beta": _weight(1.0), "gamma": _weight(1.0)},
    "hard": {},
    "fitnet": {},
    "attention": {},
    "rkd": {"distance": _weight(25.0), "angle": _weight(50.0)},
}


@dataclass(frozen=True)
class Outputs:
    """What a model made of a batch.

    Attributes:
        logits: Shape (batch, classes).
        features: By module path, each with the batch as first dimension.
    """

    logits: "Tensor"
    features: "Mapping[str, Tensor]" = field(default_factory=dict)


class DistillationLoss(Protocol):
    """A loss as the training loop sees it."""

    @property
    def needs_features(self) -> bool:
        """Whether the teacher must run beside the student."""
        ...

    @property
    def supports_mixed_labels(self) -> bool:
        """Whether labels may be blended."""
        ...

    @property
    def student_taps(self) -> tuple[str, ...]:
        """Module paths whose outputs it wants from the student."""
        ...

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        """Module paths whose outputs it wants from the teacher."""
        ...

    @property
    def module(self) -> "nn.Module | None":
        """Weights of its own, trained with the student's and then dropped."""
        ...

    def __call__(self, student: Outputs, teacher: Outputs, labels: "Tensor") -> "Tensor":
        """The loss of a batch: a scalar that carries gradients into the student only."""
        ...


def names() -> list[str]:
    """The losses that can be built, sorted."""
    return sorted(LOSSES)


def needs_features(name: str) -> bool:
    """Whether a loss looks inside the models, so that stored soft labels are not enough.

    Raises:
        ConfigError: No such loss.
    """
    _known(name)
    return name in PAIRS


def supports_mixed_labels(name: str) -> bool:
    """Whether a loss can work with labels that mixup or cutmix blended.

    Raises:
        ConfigError: No such loss.
    """
    _known(name)
    return name not in TAKES_LABELS


def resolve_options(term: LossTerm) -> dict[str, Scalar]:
    """Every option of a term with its value; taps only where they were given.

    Raises:
        ConfigError: No such loss or option, or a value out of bounds.
    """
    _known(term.name)
    known = OPTIONS[term.name]
    taps = TAPS if term.name in PAIRS else ()
    for key in term.options:
        if key not in known and key not in taps:
            has = ", ".join((*known, *taps)) or "none"
            raise ConfigError(
                f"loss {term.name} has no option {key!r}",
                hint=f"its options: {has}; every loss has weight, ramp_epochs and ramp_from",
            )
    asked = [key for key in taps if key in term.options]
    if len(asked) == 1:
        raise ConfigError(f"loss {term.name} has {asked[0]} alone", hint="give both or neither")
    for key in asked:
        if not isinstance(term.options[key], str):
            raise ConfigError(f"{key}={term.options[key]} is not a module path")
    return {
        key: option.check(key, term.options.get(key, option.default_at(0)))
        for key, option in known.items()
    } | {key: term.options[key] for key in asked}


def weight_notes(terms: Iterable[LossTerm]) -> list[str]:
    """What to say of losses that seem to have been given no weight, though theirs is not 1."""
    names = dict.fromkeys(term.name for term in terms if term.weight == 1)
    return [
        f"{name} has weight 1, its usual weight is {weight:g}: {name}:weight={weight:g}"
        for name, weight in USUAL_WEIGHTS.items()
        if name in names
    ]


def weight_at(term: LossTerm, epoch: float, epochs: int) -> float:
    """The weight of a term at a moment of the training.

    It goes in a straight line from `ramp_from * weight` to `weight` over `ramp_epochs`. A `dkd`
    without `ramp_epochs` warms up as in its paper, over 20 epochs, but over no more than a quarter
    of the training.

    Args:
        term: With its ramp.
        epoch: From 0; a fraction inside an epoch.
        epochs: Of the whole training.
    """
    ramp: float
    if term.ramp_epochs is not None:
        ramp = term.ramp_epochs
    else:
        ramp = min(DKD_RAMP_EPOCHS, epochs / DKD_RAMP_SHARE) if term.name in OWN_RAMP else 0
    share = min(1.0, epoch / ramp) if ramp else 1.0
    return term.weight * (term.ramp_from + (1 - term.ramp_from) * share)


def build(
    term: LossTerm,
    *,
    student_shapes: "Shapes | None" = None,
    teacher_shapes: "Shapes | None" = None,
) -> DistillationLoss:
    """Make a term's loss, without its weight.

    Args:
        term: Name and options. On features, `student_taps` and `teacher_taps` name module paths
            joined by "+", paired in order; without them stages are paired.
        student_shapes: For a loss on features: the student's taps, from shallow to deep, with the
            shapes of one image's features (`compress.models.feature_hooks.shapes`).
        teacher_shapes: The same for the teacher.

    Returns:
        The loss; its projectors, if any, are on the CPU and drawn from torch's global generator.

    Raises:
        ConfigError: No such loss or option, a value out of bounds, or taps that do not exist.
    """
    options = resolve_options(term)
    module, _, name = LOSSES[term.name].partition(":")
    function: Callable[..., Tensor] = getattr(import_module(module), name)
    numbers = {key: float(value) for key, value in options.items() if key not in TAPS}
    if term.name not in PAIRS:
        from compress.losses.on_logits import LogitLoss

        return LogitLoss(term.name, function, numbers, term.name in TAKES_LABELS)
    from compress.losses.on_features import (
        FeatureLoss,
        build_projectors,
        check_maps,
        check_places,
        choose_pairs,
    )

    student, teacher = student_shapes or {}, teacher_shapes or {}
    asked = (str(options[TAPS[0]]), str(options[TAPS[1]])) if TAPS[0] in options else None
    pairs = choose_pairs(student, teacher, wanted=PAIRS[term.name], asked=asked)
    projectors = None
    if term.name == "fitnet":
        projectors = build_projectors(pairs, student, teacher)
    elif term.name == "attention":
        check_maps(pairs, student, teacher)
        check_places(pairs, student, teacher)
    ours, theirs = zip(*pairs, strict=True)
    return FeatureLoss(term.name, function, numbers, ours, theirs, projectors)


def build_for(
    term: LossTerm, *, student: "nn.Module", teacher: "nn.Module", image_size: int
) -> DistillationLoss:
    """Make a term's loss for two models, whose features are measured where they are needed.

    Args:
        term: Name and options, as in `build`.
        student: Takes float images (1, 3, image_size, image_size); left as it is.
        teacher: The same.
        image_size: Side of the images in pixels.

    Raises:
        ConfigError: As `build`; also when the stages of a model are not known and not named.
    """
    if term.name not in PAIRS:
        return build(term)
    ours, theirs = (
        _tapped(term, key, model, image_size)
        for key, model in zip(TAPS, (student, teacher), strict=True)
    )
    return build(term, student_shapes=ours, teacher_shapes=theirs)


def check_student(term: LossTerm, student: "nn.Module", *, image_size: int, classes: int) -> None:
    """Refuse what a term wants of a student that it does not have, whoever its teacher will be.

    Args:
        term: Name and options, as in `build`.
        student: As in `build_for`.
        image_size: Side of the images in pixels.
        classes: Of the data.

    Raises:
        ConfigError: As `build_for`, as far as the student tells.
    """
    options = resolve_options(term)
    least = LEAST_CLASSES.get(term.name, 2)
    if classes < least:
        raise ConfigError(
            f"loss {term.name} teaches nothing with {classes} classes: it takes {least} or more",
            hint="use kd",
        )
    if term.name not in PAIRS:
        return
    from compress.losses.on_features import check_maps, choose_pairs

    ours = _tapped(term, TAPS[0], student, image_size)
    if TAPS[0] not in options:
        return
    asked = (str(options[TAPS[0]]), str(options[TAPS[1]]))
    theirs: Shapes = dict.fromkeys(asked[1].split("+"), ())
    pairs = choose_pairs(ours, theirs, wanted=PAIRS[term.name], asked=asked)
    if term.name in ON_MAPS:
        check_maps([(path, path) for path, _ in pairs], ours, ours)


def _tapped(term: LossTerm, key: str, model: "nn.Module", image_size: int) -> "Shapes":
    """The shapes of a model's features at the taps that a term names, else at its stages."""
    from compress.models.feature_hooks import default_taps, shapes

    taps = str(term.options[key]).split("+") if key in term.options else default_taps(model)
    return shapes(model, tuple(taps), image_size=image_size)


def _known(name: str) -> None:
    if name not in LOSSES:
        error = unknown("loss", name, list(LOSSES))
        error.hint += "; ce is a term of a sum, as in --loss 'ce:weight=0.1 + kd:weight=0.9'"
        raise error
