"""Finds the test images that the rows of a bench are asked about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from compress.config.bench import MeasuringConfig
from compress.data import registry
from compress.data.images import ImageSet
from compress.errors import CompressError, ConfigError, InputError
from compress.progress import Progress
from compress.records.bench import BenchData
from compress.stages.bench_rows import Row

NAMED = 8
"""Missing classes that a message names."""


@dataclass(frozen=True)
class AskedImages:
    """The test images, at every size a row takes.

    Attributes:
        name: Of the data; None where there are no images.
        of_size: By height and width in pixels.
        sha256: Of all of them before `--limit`, by size; empty where the user named the data.
        all_images: How many there were before `--limit`.
        named: Whether the user named the data, so that every row is asked about it.
        classes: That the models tell apart; empty where they do not say, or know other ones.
        reason: Why there are none.
    """

    name: str | None = None
    of_size: Mapping[int, ImageSet] = field(default_factory=dict)
    sha256: Mapping[int, str] = field(default_factory=dict)
    all_images: int = 0
    named: bool = False
    classes: tuple[str, ...] = ()
    reason: str = ""

    def record(self, size: int) -> BenchData | None:
        """What the record says of them."""
        images = self.of_size.get(size) or next(iter(self.of_size.values()), None)
        if images is None or self.name is None:
            return None
        return BenchData(
            name=self.name,
            sha256=images.sha256,
            images=images.count,
            of=self.all_images,
            labelled=images.labels is not None,
            missing_classes=self._missing(images),
        )

    def _missing(self, images: ImageSet) -> tuple[str, ...]:
        """The classes of the models, or of the data, that no labelled image shows."""
        if images.labels is None:
            return ()
        shown = set(images.shown_classes)
        return tuple(name for name in self.classes or images.class_names if name not in shown)


def check_named(config: MeasuringConfig) -> None:
    """Refuse mistyped data or places of data, even where no image is needed.

    Raises:
        ConfigError: The data a user named is unknown.
        InputError: The folder a user named does not exist.
    """
    registry.check_place(config.data_dir)
    if config.data is not None:
        registry.check(config.data)


def load_images(rows: Sequence[Row], config: MeasuringConfig, progress: Progress) -> AskedImages:
    """The test images a user named, or those that the models were trained for; never downloaded.

    Images that nobody named may be absent or unreadable: the reason is kept.

    Raises:
        ConfigError: The data a user named is unknown.
        InputError: It is missing or damaged; or `strict`, and the images have another size than a
            model takes.
        MachineError: A package it comes with is not installed.
    """
    told = sorted((row for row in rows if row.card.dataset), key=lambda row: row.role == "teacher")
    first = told[0] if told else None
    name = config.data or (None if first is None else first.card.dataset)
    if name is None:
        return AskedImages(reason="no --data, and the models do not say what they are for")
    place = config.data or (None if first is None else _place(first))
    if place is None:
        return AskedImages(
            reason=f"unknown data {name!r}: no folder of pictures that this machine remembers; "
            "name its folder with --data"
        )
    found: dict[int, ImageSet] = {}
    whole: dict[int, str] = {}
    count = 0
    for size in sorted({row.card.image_size for row in rows}):
        try:
            images = _load(place, config.data_dir, size, strict=config.strict, progress=progress)
        except CompressError as error:
            if config.data is not None or isinstance(error, WrongSizeError):
                raise
            hint = "name its folder with --data" if isinstance(error, ConfigError) else error.hint
            return AskedImages(reason="; ".join(filter(None, (error.message, hint))))
        count = images.count
        if config.data is None:
            whole[size] = images.sha256
        if config.limit is not None and config.limit < count:
            chosen = np.linspace(0, count - 1, config.limit).round().astype(np.int64)
            images = images.subset(chosen)
        found[size] = images
    if count == 0:
        return AskedImages(reason=f"{name} has no test images")
    others = [other_images(row, name, whole) for row in told if row.card.dataset == name]
    if config.data is None and all(others):
        return AskedImages(reason=others[0])
    return AskedImages(
        name,
        found,
        whole,
        count,
        named=config.data is not None,
        classes=_known_classes(rows, next(iter(found.values()))),
    )


def _place(row: Row) -> str | None:
    """Where the images lie that a model was trained for; None where nothing is known."""
    kind = row.card.dataset_kind
    return registry.place_of(
        row.card.dataset or "",
        is_folder=None if kind is None else kind == "folder",
        test_sha256=row.data_sha256,
    )


def other_images(row: Row, name: str, found: Mapping[int, str]) -> str:
    """Why images that nobody named are not those of a model; empty where they are, or may be."""
    here, expected = found.get(row.card.image_size), row.data_sha256
    if row.card.dataset != name or here is None or expected is None or here == expected:
        return ""
    return (
        f"the test images of {name} here are not those of {row.label} (sha256 {here[:12]}…, "
        f"expected {expected[:12]}…); name its images with --data"
    )


def _known_classes(rows: Sequence[Row], images: ImageSet) -> tuple[str, ...]:
    """What the first student tells apart, if no image shows anything else."""
    names = next(
        (row.card.class_names for row in rows if row.role != "teacher" and row.card.class_names), ()
    )
    return names if set(images.shown_classes) <= set(names) else ()


class WrongSizeError(InputError):
    """The images have another size, and `--strict` forbids to resize them."""


def _load(
    name: str, data_dir: Path | None, size: int, *, strict: bool, progress: Progress
) -> ImageSet:
    if not strict:
        return registry.load_test(name, data_dir=data_dir, image_size=size, progress=progress)
    try:
        images = registry.load_test(name, data_dir=data_dir, image_size=None, progress=progress)
    except ConfigError as error:
        if name in registry.names() or "size" not in error.message:
            raise
        raise WrongSizeError(error.message, hint="leave out --strict to resize them") from error
    if images.image_size != size:
        raise WrongSizeError(
            f"the images of {name} are {images.image_size} pixels wide, a model takes {size}",
            hint="leave out --strict to resize them",
        )
    return images


def missing_notes(images: AskedImages, size: int) -> list[str]:
    """What is worth saying about the images."""
    record = images.record(size)
    if record is None:
        return [f"no accuracy: {images.reason}"]
    notes = []
    if record.images < record.of:
        notes.append(f"accuracy on {record.images} of {record.of} test images")
    if not record.labelled:
        notes.append(f"{record.name} has no labels: latency and agreement only")
    if record.missing_classes:
        notes.append(missing_classes(record))
    return notes


def missing_classes(data: BenchData) -> str:
    """Which classes no image shows, the first of them by name; empty where all are there."""
    names = data.missing_classes
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more classes" if len(names) > NAMED else ""
    return f"no test images of {', '.join(names[:NAMED])}{more}"
