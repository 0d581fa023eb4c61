"""A teacher of which only stored answers are there: which one it is, and whether they are whole."""

from collections.abc import Sequence
from pathlib import Path

from compress.data.images import Splits
from compress.data.views import View
from compress.errors import CompressError, ConfigError, InputError
from compress.training.opening import check_accuracy
from compress.training.soft_labels import SoftLabels, stored_sets

LISTED = 5
"""Views that an error names; the others are counted."""


def stored_for(folder: Path, splits_sha256: str) -> list[SoftLabels]:
    """The teachers whose answers a folder holds for some data and its split."""
    found = []
    for stored in stored_sets(folder):
        try:
            if stored.description().splits_sha256 == splits_sha256:
                found.append(stored)
        except CompressError:
            continue
    return found


def only_stored(
    folder: Path, splits: Splits, views: Sequence[View], *, begun_with: str | None = None
) -> SoftLabels:
    """The one teacher whose answers a folder holds for this data.

    Args:
        folder: Holds one folder per teacher.
        splits: The data.
        views: Those that students learn from: who answered none of them is not meant.
        begun_with: The key of the answers a run began with, taken whoever else is there.

    Raises:
        InputError: None.
        ConfigError: Several.
    """
    known = stored_for(folder, splits.sha256)
    if not known:
        raise InputError(
            f"no soft labels for {splits.name} in {folder}" + _unread(folder),
            hint="make them with `compress soft-labels`, or give --teacher",
        )
    found = [stored for stored in known if stored.key == begun_with]
    digests = [view.digest for view in views]
    found = found or [stored for stored in known if stored.held(digests)] or known
    if len(found) > 1:
        raise _several(folder, splits, found, digests)
    stored = found[0]
    check_accuracy(stored.description(), stored.key, images=splits.test.count)
    return stored


def _unread(folder: Path) -> str:
    """Why one of the teachers there cannot be told; empty where all can."""
    for stored in stored_sets(folder):
        try:
            stored.description()
        except CompressError as error:
            return f"; {error.message}"
    return ""


def _several(
    folder: Path, splits: Splits, found: Sequence[SoftLabels], digests: Sequence[str]
) -> ConfigError:
    """The error for answers among which nothing decides."""
    each = ", ".join(
        f"{one.key} ({one.description().number_format}, "
        f"{one.held(digests)} of {len(digests)} views)"
        for one in found
    )
    return ConfigError(
        f"{folder} holds soft labels of several teachers or number formats for {splits.name}: "
        f"{each}",
        hint="give --teacher as well, or another folder",
    )


def check_whole(stored: SoftLabels, views: Sequence[View]) -> None:
    """Refuse to begin without a teacher where one of its answers is missing or damaged.

    Every file is read once, which is about 1 MB a view of CIFAR-10.

    Raises:
        InputError: Some are; it says how many, and which come first.
    """
    stored.read_evaluation()
    missing, damaged = [], []
    for view in views:
        if not stored.has(view.digest):
            missing.append(view.number)
            continue
        try:
            stored.read(view.digest)
        except InputError:
            damaged.append(view.number)
    counted = [
        f"{len(numbers)} of {len(views)} views are {how}: {_listed(numbers)}"
        for numbers, how in ((missing, "missing"), (damaged, "damaged"))
        if numbers
    ]
    if counted:
        raise InputError(
            f"{stored.folder}: the answers to {'; '.join(counted)}",
            hint=f"fill them with `compress soft-labels --teacher … --soft-labels "
            f"{stored.folder.parent} --views {len(views)}`, with the same augmentation, "
            "--unlabelled and --view-seed; or give --teacher, or fewer --views",
        )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:LISTED])) + (", …" if len(numbers) > LISTED else "")
