"""Data sets by name or folder, read into the splits a run works with."""

from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Protocol

from compress.data import folder, places
from compress.data.cifar_layouts import CIFAR10, CIFAR100
from compress.data.images import ImageSet, Splits, without
from compress.data.resize import resized
from compress.errors import ConfigError, InputError, unknown
from compress.files import seen_from
from compress.progress import Progress, Silent

READERS = {
    "cifar10": "compress.data.cifar:read_cifar10",
    "cifar100": "compress.data.cifar:read_cifar100",
    "digits": "compress.data.digits:read",
}


class Reader(Protocol):
    """Reads one split ("train", "validation" or "test"); None where the data set has none."""

    def __call__(
        self, split: str, *, data_dir: Path | None, download: bool, progress: Progress
    ) -> ImageSet | None:
        """Read the split at the data set's own image size."""
        ...


def names() -> tuple[str, ...]:
    """The names `load` knows, sorted; any other is taken for a folder."""
    return tuple(sorted(READERS))


def is_named(name_or_folder: str) -> bool:
    """Whether `load` takes it for the name of a data set, not for a folder."""
    return name_or_folder in READERS


def named_by(run: Path, name_or_folder: str) -> str:
    """What to give `load` for the data that a run names, seen from this working directory.

    Args:
        run: The run directory.
        name_or_folder: As its manifest has it. A folder stays one: `cifar10/` is not `cifar10`.
    """
    if is_named(name_or_folder) or name_or_folder.startswith("~"):
        return name_or_folder
    return str(seen_from(run, name_or_folder).absolute())


def place_of(name: str, *, is_folder: bool | None, test_sha256: str | None) -> str | None:
    """What to give `load_test` for the data of a model that was trained elsewhere or long ago.

    A folder is found where it was last loaded from on this machine, else in the working directory.

    Args:
        name: Of the data: a folder's last part.
        is_folder: Whether it was a folder; None where the model does not say.
        test_sha256: Of its test images; None where the model does not say, and then no folder can
            be told from another of that name.

    Returns:
        None where nothing is known.
    """
    if test_sha256 is not None and is_folder is not False:
        last = places.remembered(test_sha256)
        if last is not None and last.is_dir():
            return str(last)
    if is_named(name) and not is_folder:
        return name
    return f"./{name}" if test_sha256 is not None and Path(name).is_dir() else None


def check_place(data_dir: Path | None) -> None:
    """Refuse a mistyped place, which no other place silently stands in for.

    Raises:
        InputError: There is no such folder.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise InputError(
            f"there is no folder {data_dir} to look for data in",
            hint="correct --data-dir, or make the folder if data are to be downloaded to it",
        )


def still_there(data_dir: str | None) -> Path | None:
    """The --data-dir of an earlier run; None where it has gone, so that other places are tried."""
    return Path(data_dir) if data_dir and Path(data_dir).is_dir() else None


def check(name_or_folder: str, option: str = "--data") -> None:
    """Refuse what `load` could not find, before anything is begun for it.

    Args:
        name_or_folder: As in `load`.
        option: Who gave it, for hints.

    Raises:
        ConfigError: The name is neither known nor a folder, or the folder holds CIFAR's own files.
        InputError: There is no such folder.
    """
    if name_or_folder not in READERS:
        _folder(name_or_folder, option)


def load(
    name_or_folder: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    validation_fraction: float = 0.1,
    split_seed: int = 0,
    download: bool = False,
    progress: Progress | None = None,
) -> Splits:
    """Read the train, validation and test images of a data set.

    Where a folder lies is remembered by its test images, for `place_of`.

    Args:
        name_or_folder: A name of `names()`, or a folder of `train/<class>/*`, `test/<class>/*`
            and perhaps `val/<class>/*`.
        data_dir: Where the files of a named data set are looked for first; it must be there.
        image_size: Height and width wanted, in pixels; None keeps the images' own.
        validation_fraction: Share of the training images held out, 0 up to 1, where the data set
            has no validation images of its own.
        split_seed: Which images are held out.
        download: Whether to fetch what is nowhere on this machine.
        progress: Shows downloads and the reading of folders.

    Raises:
        ConfigError: The name is neither known nor a folder, the folder holds CIFAR's own files, or
            the fraction leaves no images.
        InputError: Files are missing, truncated, altered or unreadable.
        MachineError: A package the data set comes with is not installed.
    """
    shown = progress or Silent()
    check_place(data_dir)
    path = None
    if name_or_folder not in READERS:
        path = _folder(name_or_folder)
        name = path.resolve().name
        found = folder.read(path, image_size=image_size, progress=shown)
    else:
        name = name_or_folder
        reader = _reader(name)
        found = {}
        for split in ("train", "validation", "test"):
            images = reader(split, data_dir=data_dir, download=download, progress=shown)
            if images is not None:
                found[split] = resized(images, image_size)
    splits = Splits.build(
        name,
        train=found["train"],
        test=found["test"],
        validation=found.get("validation"),
        validation_fraction=validation_fraction,
        split_seed=split_seed,
    )
    if path is not None:
        places.remember(splits.test.sha256, path)
    return splits


def load_test(
    name_or_folder: str,
    *,
    data_dir: Path | None = None,
    image_size: int | None = None,
    progress: Progress | None = None,
) -> ImageSet:
    """Read only the test images of a data set, and never download them.

    A folder without `test` is itself taken for the test images: `<class>/*`, or unlabelled
    pictures lying flat in it.

    Args:
        name_or_folder: As in `load`.
        data_dir: As in `load`.
        image_size: As in `load`.
        progress: As in `load`.

    Raises:
        ConfigError: The name is neither known nor a folder, or the folder holds CIFAR's own files.
        InputError: Files are missing, truncated, altered or unreadable.
        MachineError: A package the data set comes with is not installed.
    """
    shown = progress or Silent()
    check_place(data_dir)
    if name_or_folder not in READERS:
        return folder.read_test(_folder(name_or_folder), image_size=image_size, progress=shown)
    reader = _reader(name_or_folder)
    images = reader("test", data_dir=data_dir, download=False, progress=shown)
    if images is None:
        raise InputError(f"{name_or_folder} has no test images")
    return resized(images, image_size)


def with_unlabelled(
    splits: Splits,
    name_or_folder: str,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    progress: Progress | None = None,
) -> Splits:
    """Splits with more images for a teacher to answer, without labels.

    Of a named data set these are its training images; of a folder all pictures in it, but of one
    laid out as in `load` those of `train`. What equals an image of the data, pixel for pixel and of
    whichever split, is left out.

    Args:
        splits: The data; the images are read at its size.
        name_or_folder: As in `load`; a folder needs no classes.
        data_dir: As in `load`.
        download: As in `load`.
        progress: Told how many there are, too.

    Raises:
        ConfigError: As in `load`, or nothing is left.
        InputError: As in `load`.
        MachineError: As in `load`.
    """
    shown = progress or Silent()
    if name_or_folder not in READERS:
        size = splits.image_size
        place = _folder(name_or_folder, "--unlabelled")
        found = folder.read_unlabelled(place, image_size=size, progress=shown)
    else:
        reader = _reader(name_or_folder)
        read = reader("train", data_dir=data_dir, download=download, progress=shown)
        if read is None:
            raise InputError(f"{name_or_folder} has no training images")
        found = resized(read, splits.image_size)
    kept = without(found, splits.train, splits.validation, splits.test)
    if not kept.count:
        raise ConfigError(
            f"--unlabelled {name_or_folder}: {splits.name} holds all of these images already",
            hint="give others",
        )
    out = found.count - kept.count
    held = f"; {splits.name} holds {out:,} more of them already: left out" if out else ""
    shown.note(f"unlabelled images of {name_or_folder}: {kept.count:,}{held}")
    return replace(splits, unlabelled=kept)


def load_classes(name_or_folder: str, *, data_dir: Path | None = None) -> tuple[str, ...]:
    """The class names of the images of `load_test`; those of a folder without opening a picture.

    Args:
        name_or_folder: As in `load`.
        data_dir: As in `load`.

    Returns:
        One name per class; empty where the images are unlabelled.

    Raises:
        ConfigError: As in `load_test`.
        InputError: Files of a named data set are missing or damaged, a folder holds no picture, or
            its test classes are not among those of `train`.
        MachineError: A package the data set comes with is not installed.
    """
    if name_or_folder in READERS:
        return load_test(name_or_folder, data_dir=data_dir).class_names
    return folder.read_classes(_folder(name_or_folder))


def load_size(name_or_folder: str, *, data_dir: Path | None = None) -> int:
    """The own size in pixels of the images of `load_test`; of a folder only headers are read.

    Args:
        name_or_folder: As in `load`.
        data_dir: As in `load`.

    Raises:
        ConfigError: As in `load_test`, or the pictures of a folder differ in size.
        InputError: As in `load_test`.
        MachineError: A package the data set comes with is not installed.
    """
    if name_or_folder in READERS:
        return load_test(name_or_folder, data_dir=data_dir).image_size
    return folder.read_size(_folder(name_or_folder))


def _reader(name: str) -> Reader:
    module, _, function = READERS[name].partition(":")
    reader: Reader = getattr(import_module(module), function)
    return reader


def _folder(text: str, option: str = "--data") -> Path:
    path = Path(text)
    with suppress(RuntimeError):  # nobody of the name after ~
        path = path.expanduser()
    if path.is_dir():
        for layout in (*CIFAR10, *CIFAR100):
            if (path / layout.folder).is_dir() or path.resolve().name == layout.folder:
                raise ConfigError(
                    f"{text} holds the files of {layout.dataset}, not folders of pictures",
                    hint=f"use {option} {layout.dataset} --data-dir {text}",
                )
        return path
    if path.exists():
        raise InputError(f"{text} is a file, not a folder of images")
    if "/" in text or "\\" in text or text.startswith((".", "~")):
        raise InputError(f"there is no folder {text}", hint=f"data names: {', '.join(names())}")
    raise unknown("data", text, names())
