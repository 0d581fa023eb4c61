"""Who taught a run of `distill`: the teacher's weights pinned, and another teacher refused."""

from collections.abc import Sequence
from pathlib import Path

from compress.config.distill import DistillConfig
from compress.errors import ConfigError, InputError
from compress.files import seen_from, sha256_file
from compress.records.distill import DistillRecord
from compress.records.run import InputRecord, RunManifest
from compress.records.soft_labels import TeacherDescription
from compress.records.train import TrainRecord
from compress.runs import (
    RECORD,
    Run,
    checked_file,
    complete_run,
    read_manifest,
)
from compress.stages.stored_teacher import stored_for

TEACHER = "teacher"
"""Names the teacher among a run's inputs and choices."""
STORED = "soft labels"
"""Names the store among a run's choices, and in older runs the teacher whose labels it holds."""


def named(manifest: RunManifest) -> bool:
    """Whether a run says where its teacher's weights lie: not if it learned from labels alone."""
    return TEACHER in manifest.choices


def check_way(folder: Path, manifest: RunManifest, config: DistillConfig) -> None:
    """Refuse to look for a teacher on behalf of a run that began with stored soft labels alone.

    Raises:
        ConfigError: It did, and the command names neither them nor a teacher.
    """
    if named(manifest) or config.teacher or config.soft_labels is not None:
        return
    for before in _pinned(manifest):
        raise ConfigError(
            f"{folder} learned from the stored soft labels {before[0].source} alone",
            hint="name their folder again with --soft-labels, or use --restart or another "
            "--run-dir",
        )


def train_top1(run: Path, manifest: RunManifest) -> float | None:
    """The training accuracy of a teacher that is one model of a run on the same images.

    Args:
        run: The directory of the run it taught.
        manifest: Of that run.

    Returns:
        What the teacher's own run says; None of a file or an ensemble, and where that run is gone.
    """
    pins = manifest.choices.get(TEACHER, ())
    if len(pins) != 1 or pins[0]["foreign"]:
        return None
    weights = seen_from(run, pins[0]["path"])
    folder = weights.parent.parent
    try:
        own = complete_run(folder)
        path = checked_file(folder, own, RECORD)
        rows = (
            TrainRecord.read(path).models
            if own.command == "train"
            else DistillRecord.read(path).students
        )
    except InputError:
        return None
    label = weights.name.removesuffix(".safetensors")
    return next((row.train_top1 for row in rows if row.label == label), None)


def from_outside(manifest: RunManifest, described: TeacherDescription) -> bool:
    """Whether a run's teacher may have been trained on its validation images.

    Args:
        manifest: Of the run it taught.
        described: As the store of its answers says, which others may have made: it counts where
            the run learned from stored answers alone.
    """
    pins = manifest.choices.get(TEACHER, ())
    return any(pin["foreign"] for pin in pins) if pins else described.foreign


def check_finished(folder: Path, config: DistillConfig) -> None:
    """Refuse to show a complete run for a command that now means another teacher.

    Where the teacher's weights are gone there is nothing to compare, and the run stands.

    Raises:
        ConfigError: The teacher's weights are others than those the run learned from.
    """
    manifest = read_manifest(folder)
    check_way(folder, manifest, config)
    if config.soft_labels is not None and not config.teacher:
        images = manifest.data_sha256
        stored = [] if images is None else stored_for(config.soft_labels, images)
        others = [members_of_store(one.key, one.description().weights_sha256) for one in stored]
        if others and not any(_same(manifest, members) for members in others):
            raise _another(folder, _pinned(manifest)[0], others[0])
        return
    for pin in manifest.choices.get(TEACHER, ()):
        before = InputRecord(source=pin["path"], sha256=pin["sha256"])
        now = _as_it_lies_there(before, folder)
        if now is not None and now != before:
            raise _another(folder, [before], [now])


def members_of_store(key: str, weights_sha256: Sequence[str]) -> list[InputRecord]:
    """The members of a teacher of which only the stored soft labels are known."""
    return [InputRecord(source=key, sha256=sha256) for sha256 in weights_sha256]


def pin_members(run: Run, members: Sequence[InputRecord]) -> None:
    """Note the weights a run learns from, or refuse others than those it began with.

    Args:
        run: Held open.
        members: Every member's source and the digest of its weights, however they were found.

    Raises:
        ConfigError: The run began with another teacher.
    """
    if not _same(run.manifest, members):
        raise _another(run.folder, _pinned(run.manifest)[0], members)
    for number, member in enumerate(members):
        suffix = f" {number + 1}" if len(members) > 1 else ""
        run.pin(f"{TEACHER}{suffix}", member.source, member.sha256)


def pin_store(run: Run, key: str) -> None:
    """Note the stored answers a run learns from, or refuse others of the same teacher.

    Raises:
        ConfigError: They were computed in another number format than those it began with.
    """
    begun = run.choose(STORED, lambda: key)
    if begun != key:
        raise ConfigError(
            f"{run.folder} began with the stored soft labels {begun}, these are {key}: "
            "the same teacher in another number format",
            hint="use the same, or --restart or another --run-dir",
        )


def _pinned(manifest: RunManifest) -> list[list[InputRecord]]:
    """The pinned members, once per name that they stand under."""
    found = []
    for kind in (TEACHER, STORED):
        pins = [one for name, one in manifest.inputs.items() if name.startswith(kind)]
        found += [pins] if pins else []
    return found


def _same(manifest: RunManifest, members: Sequence[InputRecord]) -> bool:
    """Whether a run's teacher has these weights, or has not been noted yet."""
    now = [member.sha256 for member in members]
    return all([one.sha256 for one in before] == now for before in _pinned(manifest))


def _as_it_lies_there(weights: InputRecord, run: Path) -> InputRecord | None:
    """A weights file that a run names with the digest it has now; None where it cannot be read."""
    try:
        path = seen_from(run, weights.source, sha256=weights.sha256)
        return weights.model_copy(update={"sha256": sha256_file(path)})
    except InputError:
        return None


def _another(
    folder: Path, before: Sequence[InputRecord], now: Sequence[InputRecord]
) -> ConfigError:
    """The error for a run that another teacher taught."""
    return ConfigError(
        f"{folder} learned from another teacher: {_described(before)}, this is {_described(now)}",
        hint="use the same teacher, or --restart or another --run-dir",
    )


def _described(members: Sequence[InputRecord]) -> str:
    return ", ".join(f"{member.source} (sha256 {member.sha256[:12]}…)" for member in members)
