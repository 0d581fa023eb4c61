"""Finding the teacher: from runs, files and names; training one if need be."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compress.config.specs import WEIGHT_FILES, ModelSpec, Reference, Scalar
from compress.config.train import TrainConfig
from compress.data.images import Splits
from compress.data.views import View
from compress.errors import ConfigError, InputError
from compress.files import seen_from
from compress.models import registry as models
from compress.progress import Progress
from compress.records.distill import DistillRecord
from compress.records.run import RunManifest
from compress.records.soft_labels import TeacherDescription
from compress.runs import (
    RECORD,
    RUNS,
    checked_file,
    complete_run,
    find_run,
    is_run,
    newest_complete,
)
from compress.training.formats import FORCED, Format
from compress.training.members import Member, read_member
from compress.training.opening import check_accuracy, open_soft_labels
from compress.training.soft_labels import MIB, SoftLabels, make_room
from compress.training.teachers import Teacher, Trust
from compress.training.workplace import Workplace


@dataclass(frozen=True)
class Chosen:
    """Where one member of the teacher comes from, as pinned in a run's manifest.

    Attributes:
        name: Model name.
        source: As the user named it, or how it was found.
        path: The weights file.
        options: What a foreign file cannot say of itself.
        sha256: Of the weights file.
        foreign: Not trained here on this split.
    """

    name: str
    source: str
    path: str
    options: dict[str, Any]
    sha256: str
    foreign: bool


def members_of(
    references: Sequence[Reference],
    splits: Splits,
    *,
    training: TrainConfig,
    train: Callable[[TrainConfig], Path],
    progress: Progress,
    besides: Path | None = None,
) -> list[Member]:
    """Resolve every `--teacher`, or the default teacher where there is none.

    Args:
        references: As given; empty takes the newest complete run of `training`'s model on the
            same data and split, or trains one.
        splits: The data.
        training: How a missing teacher is trained.
        train: Trains it and returns its run directory.
        progress: Told which teacher was taken, and why.
        besides: The run being made, which `last` does not mean.

    Raises:
        InputError: A run or file is missing, unfinished or altered, or does not fit the data.
        ConfigError: Nothing of that name.
    """
    if not references:
        return [_by_model_name(training, splits, train, progress)]
    found = []
    for reference in references:
        target = reference.target
        if is_run(target):
            found += _from_run(find_run(target, besides=besides), reference, splits)
        elif target in models.names():
            spec = ModelSpec(name=target, options=reference.options)
            own = target == training.model.name and not reference.options
            asked = training if own else training.model_copy(update={"model": spec})
            found.append(_by_model_name(asked, splits, train, progress))
        elif target.endswith(".onnx"):
            raise ConfigError(
                f"{target} is an ONNX artifact, which cannot teach",
                hint="give the run or the weights it was exported from",
            )
        elif Path(target).is_dir():
            raise InputError(
                f"{target} is no run and no weights file",
                hint="`compress list runs` shows the runs; an artifact cannot teach",
            )
        elif target.endswith(WEIGHT_FILES) or Path(target).exists():
            found.append(
                read_member(Path(target), reference.options, splits, source=target, foreign=True)
            )
        else:
            raise InputError(
                f"no teacher {target!r}: neither a run, nor a weights file, nor a model name",
                hint=f"`compress list runs` shows the runs; models: {', '.join(models.names())}",
            )
    return found


def same_split(manifest: RunManifest, splits: Splits) -> bool:
    """Whether a run was trained on the same images with the same split."""
    return manifest.data_sha256 == splits.sha256


def _by_model_name(
    training: TrainConfig,
    splits: Splits,
    train: Callable[[TrainConfig], Path],
    progress: Progress,
) -> Member:
    """The newest complete run of a model on the same data, else one trained now.

    Options that are not given leave open which run of the model it is.
    """
    name, options = training.model.name, training.model.options

    def network(asked: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
        return models.resolve_options(name, image_size=splits.image_size, options=asked)

    def wanted(manifest: RunManifest) -> bool:
        model = manifest.config.get("model", {})
        return (
            manifest.command == "train"
            and model.get("name") == name
            and same_split(manifest, splits)
            and (not options or network(model["options"]) == network(options))
        )

    newest = newest_complete(wanted)
    if newest is None:
        if len(training.all_seeds) > 1:
            raise ConfigError(
                f"no complete run of {training.model} on {splits.name} under {RUNS}/, and the "
                f"recipe trains one for each of {len(training.all_seeds)} seeds",
                hint="train them with `compress train`, then choose with --teacher RUN:student="
                "LABEL, or average them with --teacher RUN:students=all",
            )
        progress.note(
            f"no complete run of {training.model} on {splits.name} under {RUNS}/: "
            f"training one first, {training.epochs} epochs; --teacher names another"
        )
        folder = train(training)
    else:
        folder = newest[0]
        progress.note(f"teacher: {folder}, the newest complete run of {name} on this data")
    return _from_run(folder, Reference(target=str(folder)), splits)[0]


def _from_run(folder: Path, reference: Reference, splits: Splits) -> list[Member]:
    """The weights of a run: one model, or with `students=all` every student of it."""
    manifest = complete_run(folder)
    elsewhere = not same_split(manifest, splits)
    return [
        read_member(
            checked_file(folder, manifest, f"students/{label}.safetensors"),
            {},
            splits,
            source=f"{reference.target}:student={label}" if reference.options else reference.target,
            foreign=elsewhere or manifest.beginning(label).get("foreign", False),
        )
        for label in _chosen(folder, manifest, reference)
    ]


def _chosen(folder: Path, manifest: RunManifest, reference: Reference) -> list[str]:
    """Which models of a run are meant: `student=LABEL` names one, `students=all` all.

    All students are those that are no control; of a run of `compress train` they are its models.
    """
    for key, value in reference.options.items():
        if key != "student" and (key, value) != ("students", "all"):
            raise ConfigError(
                f"a run has no option {key}={value}",
                hint=f"write {reference.target}:student=LABEL or {reference.target}:students=all",
            )
    if len(reference.options) > 1:
        raise ConfigError(f"{reference}: student and students are two ways to choose")
    if "student" in reference.options:
        return [str(reference.options["student"])]
    labels = manifest.labels
    if "students" in reference.options:
        if manifest.command == "train":
            return labels
        record = DistillRecord.read(checked_file(folder, manifest, RECORD))
        return [row.label for row in record.students if row.role == "student"]
    if len(labels) > 1:
        raise ConfigError(
            f"run {folder} holds several models: {', '.join(labels)}",
            hint=f"choose one, {reference.target}:student={labels[0]}, or average all students: "
            f"{reference.target}:students=all",
        )
    return labels


def pinned(members: Sequence[Member]) -> list[dict[str, Any]]:
    """The members as they stand in a manifest."""
    return [
        vars(
            Chosen(
                name=member.name,
                source=member.source,
                path=str(member.path),
                options=dict(member.options),
                sha256=member.sha256,
                foreign=member.foreign,
            )
        )
        for member in members
    ]


def first_gone(pins: Sequence[dict[str, Any]], run: Path) -> str | None:
    """The first weights file that a run names and that is not there any more, or None."""
    return next((pin["path"] for pin in pins if not seen_from(run, pin["path"]).exists()), None)


def unpinned(
    pins: Sequence[dict[str, Any]], run: Path, splits: Splits, *, what: str = "teacher"
) -> list[Member]:
    """The members a run names, unchanged.

    Args:
        pins: As `pinned` made them.
        run: Its directory.
        splits: The data.
        what: They are to it.

    Raises:
        InputError: One is gone, or has other weights than the run began with.
    """
    members = []
    for pin in (Chosen(**pin) for pin in pins):
        member = read_member(
            seen_from(run, pin.path, sha256=pin.sha256),
            pin.options,
            splits,
            source=pin.source,
            foreign=pin.foreign,
        )
        if member.sha256 != pin.sha256:
            raise InputError(
                f"{what} {pin.path} changed since the run began (sha256 "
                f"{member.sha256[:12]}…, expected {pin.sha256[:12]}…)",
                hint="bring the old weights back, or begin anew with --restart",
            )
        members.append(member)
    return members


def _stored_format(
    teacher: Teacher,
    folder: Path,
    views: Sequence[View],
    amp: str,
    tell: Callable[[str], None],
) -> Trust | None:
    """The number format in which all views are stored, perhaps by a machine that is faster in it.

    Args:
        teacher: Who answered.
        folder: Of all soft labels.
        views: Those it will be asked about.
        amp: As given to `--amp`, which may leave only one.
        tell: Told, in one line, of a format that holds some of them.
    """
    for dtype in FORCED.get(amp, ("float32", "bfloat16", "float16")):
        stored = SoftLabels(folder / teacher.key_in(dtype), limit_bytes=0)
        held = stored.held(view.digest for view in views)
        try:
            described = stored.description() if held else None
        except InputError:
            continue
        if described and held == len(views):
            chosen = Format(dtype=dtype)
            return Trust(chosen, described.format_agreement, described.format_probability_error)
        if described:
            tell(f"soft labels in {dtype} hold {held} of {len(views)} views")
    return None


def make_teacher(
    members: Sequence[Member],
    splits: Splits,
    folder: Path,
    place: Workplace,
    *,
    views: Sequence[View],
    limit_mib: int,
    batch_size: int,
    amp: str,
    cache: Path,
    choose: Callable[[str, Callable[[], Any]], Any],
    held: ExitStack,
) -> tuple[Teacher, SoftLabels]:
    """A teacher in its fastest trustworthy format, its own accuracy measured, and its store.

    Args:
        members: Its networks.
        splits: The data.
        folder: Of all soft labels.
        place: Where to compute.
        views: Those it will be asked about.
        limit_mib: Size that folder may grow to.
        batch_size: Images per forward pass.
        amp: As given to `--amp`.
        cache: Where trials are remembered.
        choose: Makes a decision, or returns what a run decided before.
        held: As long as it is open, nothing of the store is removed to make room.

    Raises:
        InputError: The teacher is at or below chance.
    """
    world = place.world
    teacher = Teacher(members, splits, device=place.device, batch_size=batch_size, world=world)

    def trust() -> dict[str, Any]:
        stored = _stored_format(teacher, folder, views, amp, place.progress.note)
        return asdict(stored or teacher.choose_format(cache, amp))

    def decide() -> Any:
        return choose("format of the teacher", trust)

    teacher.trust = Trust.from_state(world.from_main(decide))

    def store() -> tuple[SoftLabels, TeacherDescription]:
        stored, described = open_soft_labels(
            teacher, folder, limit_bytes=limit_mib * MIB, tell=place.progress.note
        )
        needed = {stored.view_path(view.digest) for view in views}
        removed = make_room(folder, limit_mib * MIB, keep=needed)
        if removed:
            place.progress.note(
                f"{folder} is kept within {limit_mib} MiB: its {len(removed)} views that were not "
                "used for longest are removed"
            )
        held.enter_context(stored.in_use())
        return stored, described

    stored, described = world.from_main(store)
    source = ", ".join(member.source for member in members)
    place.progress.note(
        f"teacher {teacher.name} ({source}): {described.top1:.2%} test top-1; "
        f"views in {teacher.trust}"
    )
    check_accuracy(described, source, images=splits.test.count)
    return teacher, stored
