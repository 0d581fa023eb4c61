"""The weights that the models of a run begin with, where the seed does not draw them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.config.distill import StudentPlan
from compress.config.specs import WEIGHT_FILES, Reference, Scalar
from compress.config.training import TrainingConfig
from compress.data.images import Splits
from compress.errors import ConfigError, InputError
from compress.files import seen_from, sha256_file
from compress.models import registry as models
from compress.models.pretrained import IMAGENET
from compress.progress import Progress
from compress.records.run import INITIAL, RunManifest
from compress.runs import Run, checked_file, complete_run, find_run, is_run
from compress.stages.teaching import pinned, same_split, unpinned
from compress.training.groups import Begun
from compress.training.members import Member, read_member
from compress.training.results import unfinished

LICENCE_OPEN = "licence_open"
"""Noted with the weights: whether they come from weights whose licence is not known."""
HAIR = 0.01
"""Difference of two means or deviations of pixels, on a scale of 0 to 1, that does not matter."""


def begins_with(
    run: Run,
    config: TrainingConfig,
    plans: Sequence[StudentPlan],
    splits: Splits,
    progress: Progress,
) -> dict[str, Member]:
    """The weights that each model still to be begun begins with, by label; empty without any.

    They are pinned: a run that goes on begins the others with those of its start, too. What stands
    in a checkpoint needs them no more.

    Args:
        run: Held open; has the files of the models trained so far.
        config: Names the weights.
        plans: All models of the run.
        splits: The data.
        progress: Told what is to be known of the weights.

    Raises:
        ConfigError: Nothing of that name, a run has no model of a label, weights are of another
            model, or several seeds would begin, and go on, alike.
        InputError: They are missing or altered, are not those the run began with, or do not go
            with the data.
    """
    reference = config.initial_weights
    if reference is None:
        return {}

    def find() -> dict[str, dict[str, Any]]:
        found = {plan.label: _found(reference, plan, splits, run.folder) for plan in plans}
        for plan in plans:
            _check(found[plan.label][0], plan, splits)
        if len({one.sha256 for one, _ in found.values()}) < len({plan.seed for plan in plans}):
            raise ConfigError(
                f"--initial-weights {reference} gives several seeds one beginning: they would "
                "hardly differ",
                hint="use one --seed, or a run whose models have the labels of these",
            )
        return {
            label: {**pinned([one])[0], LICENCE_OPEN: licence_open}
            for label, (one, licence_open) in found.items()
        }

    pins = run.choose(INITIAL, find)
    taken_up = _taken_up(run)
    begun = {}
    for plan in unfinished(run, plans):
        if plan.label in taken_up:
            continue
        pin = {key: value for key, value in pins[plan.label].items() if key != LICENCE_OPEN}
        if not seen_from(run.folder, pin["path"]).is_file():
            raise InputError(
                f"{pin['path']}, with whose weights {run.folder} begins {plan.label}, is gone",
                hint="bring it back, or begin anew with --restart",
            )
        member = unpinned([pin], run.folder, splits, what=INITIAL)[0]
        run.pin(f"{INITIAL} of {plan.label}", member.source, member.sha256)
        begun[plan.label] = member
    if any(member.foreign for member in begun.values()):
        progress.note(
            f"initial weights {reference}: from outside, and may know the validation images; the "
            "top-1 on these is then too high"
        )
    if any(_is_otherwise(member, splits) for member in begun.values()):
        progress.note(
            f"initial weights {reference}: they know images normalised otherwise, and first have "
            "to get used to these"
        )
    return begun


def described(
    manifest: RunManifest, config: TrainingConfig, plans: Sequence[StudentPlan]
) -> dict[str, Any]:
    """What a record says of the weights a run began with.

    Args:
        manifest: Of the run.
        config: What was asked.
        plans: Its models.

    Returns:
        Fields of a `TrainingRecord`.
    """
    if config.initial_weights is None:
        return {}
    sha256 = {plan.label: manifest.beginning(plan.label).get("sha256") for plan in plans}
    taught = {sha256[plan.label] for plan in plans if plan.role == "student"}
    return {
        "initial_weights": str(config.initial_weights),
        "initial_foreign": any(manifest.beginning(label).get("foreign") for label in sha256),
        "initial_shared": any(
            sha256[plan.label] in taught for plan in plans if plan.role == "control"
        ),
    }


def check_finished(folder: Path, manifest: RunManifest) -> None:
    """Refuse to show a complete run whose initial weights are others now; gone ones are no matter.

    Raises:
        InputError: They changed.
    """
    for label, pin in manifest.choices.get(INITIAL, {}).items():
        path = seen_from(folder, pin["path"], sha256=pin["sha256"])
        if path.is_file() and sha256_file(path) != pin["sha256"]:
            raise InputError(
                f"{folder} began {label} with other weights than {pin['path']} holds now",
                hint="bring the old ones back, or begin anew with --restart or another --run-dir",
            )


def _taken_up(run: Run) -> frozenset[str]:
    """The models that go on from a checkpoint of the run."""
    begun = Begun.read(run.folder)
    latest = () if begun.latest is None else (begun.latest,)
    return frozenset().union(*(one.labels for one in (*latest, *begun.waiting)))


def _found(
    reference: Reference, plan: StudentPlan, splits: Splits, own: Path
) -> tuple[Member, bool]:
    """The weights that one model begins with, and whether their licence is unknown.

    Args:
        reference: As asked.
        plan: The model.
        splits: The data.
        own: The directory of the run being made.
    """
    target, options = reference.target, reference.options
    if is_run(target):
        folder = find_run(target)
        if folder.resolve() == own.resolve():
            raise ConfigError(
                f"--initial-weights {target} is the run that is being made",
                hint="name another, or use another --run-dir",
            )
        manifest = complete_run(folder)
        if unknown := sorted(options.keys() - {"student"}):
            raise ConfigError(
                f"--initial-weights: a run has no option {', '.join(unknown)}",
                hint=f"write {target}, or {target}:student=LABEL",
            )
        label = str(options.get("student", plan.label))
        if label not in manifest.labels:
            raise ConfigError(
                f"--initial-weights: run {folder} has no model {label}",
                hint=f"it has {', '.join(manifest.labels)}; with {target}:student=LABEL all models "
                "of one seed begin with one of them",
            )
        before = manifest.beginning(label)
        member = read_member(
            checked_file(folder, manifest, f"students/{label}.safetensors"),
            {},
            splits,
            source=f"{target}:student={label}",
            foreign=not same_split(manifest, splits) or before.get("foreign", False),
        )
        return member, before.get(LICENCE_OPEN, False)
    if target.endswith(".onnx"):
        raise ConfigError(
            f"--initial-weights: {target} is an ONNX artifact, which cannot be trained",
            hint="give the run or the weights it was exported from",
        )
    if target.endswith(WEIGHT_FILES) or Path(target).is_file():
        member = read_member(Path(target), options, splits, source=target, foreign=True)
        return member, bool(options)
    raise InputError(
        f"no initial weights {target!r}: neither a run nor a weights file",
        hint="`compress list runs` shows the runs; --initial-weights none begins without, where a "
        "recipe names some",
    )


def _check(member: Member, plan: StudentPlan, splits: Splits) -> None:
    """Refuse weights of another model than the one that is to begin with them.

    Raises:
        ConfigError: They are, or the model asks for published weights besides.
    """
    asked = models.resolve_options(
        plan.model.name, image_size=splits.image_size, options=plan.model.options
    )
    if asked.pop("weights", None) == IMAGENET:
        raise ConfigError(
            f"{plan.model} and --initial-weights are two beginnings", hint="leave one out"
        )
    options = {key: value for key, value in member.header.options.items() if key != "weights"}
    if (member.header.model, options) != (plan.model.name, asked):
        raise ConfigError(
            f"--initial-weights: {member.path} holds {_named(member.header.model, options)}, "
            f"{plan.label} is {_named(plan.model.name, asked)}",
            hint="begin with weights of the same model and options",
        )


def _is_otherwise(member: Member, splits: Splits) -> bool:
    """Whether weights expect images on another scale; another split's differs by a hair."""
    expected = (*member.header.mean, *member.header.std)
    given = (*splits.mean, *splits.std)
    return any(abs(one - other) > HAIR for one, other in zip(expected, given, strict=True))


def _named(model: str, options: Mapping[str, Scalar]) -> str:
    own = ",".join(f"{key}={value}" for key, value in sorted(options.items()))
    return f"{model}:{own}" if own else model
