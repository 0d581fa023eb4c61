"""Folders of pictures: `train|val|test/<class>/*`, or unlabelled pictures lying flat.

Classes are the sorted folder names. Pictures of any size, PNG, JPEG or another common format, are
made square as `compress.data.resize` says, the same way in training, benchmarks and prediction.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from compress.data.images import ImageSet
from compress.data.resize import square
from compress.environment import require_memory
from compress.errors import ConfigError, InputError
from compress.files import printable
from compress.progress import Progress

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm"})
# What Pillow raised for pictures with random bytes changed, and what its decoders may raise.
_DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
SPLIT_FOLDERS = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}


def read(folder: Path, *, image_size: int | None, progress: Progress) -> dict[str, ImageSet]:
    """Read the splits of a labelled folder into memory.

    Args:
        folder: Holds `train/<class>/*`, `test/<class>/*` and perhaps `val/<class>/*`.
        image_size: Height and width wanted, in pixels; None keeps the pictures' own, which must
            then be one.
        progress: Shows the reading.

    Returns:
        "train", "test" and, where there is one, "validation".

    Raises:
        ConfigError: The pictures differ in size and `image_size` is None.
        MachineError: They do not fit into memory.
        InputError: A split is missing, its classes differ from those of `train`, a class has no
            pictures, or a picture cannot be read.
    """
    pictures = {}
    for split in SPLIT_FOLDERS:
        place = _split_folder(folder, split)
        if place is not None:
            pictures[split] = _labelled(place)
        elif split != "validation":
            raise InputError(
                f"{folder} has no {split} folder",
                hint="expected train/<class>/*, test/<class>/* and perhaps val/<class>/*",
            )
    for split, found in pictures.items():
        _same_classes(folder, split, list(found), list(pictures["train"]))
    if image_size is None:
        image_size = common_size(
            [path for found in pictures.values() for paths in found.values() for path in paths]
        )
    count = sum(len(paths) for found in pictures.values() for paths in found.values())
    require_memory(_size(count, image_size), f"the {count} pictures of {folder}")
    return {
        split: _image_set(f"{folder.name} {split}", found, image_size, progress)
        for split, found in pictures.items()
    }


def read_test(folder: Path, *, image_size: int | None, progress: Progress) -> ImageSet:
    """Read the test pictures of a folder, or the folder itself where it has no `test`.

    Classes without a picture are kept, so that who measures can name them.

    Args:
        folder: Holds `test/<class>/*`, or `<class>/*`, or unlabelled pictures.
        image_size: As in `read`.
        progress: Shows the reading.

    Returns:
        The set; without labels and class names where the pictures lie flat.

    Raises:
        ConfigError: As in `read`.
        InputError: There is no picture at all, one cannot be read, or a class is not among those
            of `train`.
    """
    paths, by_class = _test_pictures(folder)
    size = image_size or common_size(paths)
    if by_class is None:
        pixels = read_pictures(paths, image_size=size, progress=progress)
        return ImageSet(folder.name, pixels, None, ())
    return _image_set(f"{folder.name} test", by_class, size, progress)


def read_unlabelled(folder: Path, *, image_size: int, progress: Progress) -> ImageSet:
    """Read all pictures of a folder, whatever folders in it they lie in.

    Args:
        folder: Holds pictures, or folders of them. Where these are splits alone, as in `read`, the
            pictures of `train` are read.
        image_size: As in `read`.
        progress: Shows the reading.

    Raises:
        InputError: There is no picture, or one cannot be read.
        MachineError: They do not fit into memory.
    """
    train, splits = _split_folder(folder, "train"), set(sum(SPLIT_FOLDERS.values(), ()))
    alone = splits.issuperset(_class_names(folder)) and not pictures_in(folder, nested=False)
    paths = pictures_in(train if train and alone else folder)
    if not paths:
        raise InputError(f"{folder} holds no pictures")
    pixels = read_pictures(paths, image_size=image_size, progress=progress)
    return ImageSet(folder.name, pixels, None, ())


def read_classes(folder: Path) -> tuple[str, ...]:
    """The class names that `read_test` gives, without opening a picture.

    Raises:
        InputError: There is no picture at all, or a class is not among those of `train`.
    """
    _, by_class = _test_pictures(folder)
    return tuple(by_class or ())


def read_size(folder: Path) -> int:
    """The image size in pixels that `read_test` takes where it is told none; reads only headers.

    Raises:
        ConfigError: As in `read`.
        InputError: As in `read_test`.
    """
    paths, _ = _test_pictures(folder)
    return common_size(paths)


def _test_pictures(folder: Path) -> tuple[list[Path], dict[str, list[Path]] | None]:
    """The test pictures of a folder, and the same by class: None where they lie flat."""
    place = _split_folder(folder, "test")
    if place is None:
        place = folder
        flat = pictures_in(folder, nested=False)
        if flat and pictures_in(folder) == flat:
            return flat, None
        others = {name for split in ("train", "validation") for name in SPLIT_FOLDERS[split]}
        inside = set(_class_names(folder))
        if inside and inside <= others:
            raise InputError(
                f"{folder} has no test folder, only {', '.join(sorted(inside))}",
                hint="name the folder with the classes to test on, or call it `test`",
            )
    found = _labelled(place, gaps=True)
    train = _split_folder(folder, "train")
    if train is not None and place != folder:
        names = _class_names(train)
        _same_classes(folder, "test", sorted({*found, *names}), names)
        found = {name: found.get(name, []) for name in names}
    return [path for paths in found.values() for path in paths], found


def read_pictures(
    paths: Sequence[Path], *, image_size: int, progress: Progress
) -> NDArray[np.uint8]:
    """Read pictures of any size as squares: uint8 (pictures, image_size, image_size, 3), RGB.

    Raises:
        InputError: A picture is missing, cut or not a picture; it is named.
        MachineError: They do not fit into memory.
    """
    require_memory(_size(len(paths), image_size), f"{len(paths)} pictures")
    pixels = np.empty((len(paths), image_size, image_size, 3), dtype=np.uint8)
    progress.start("reading pictures", total=len(paths), unit="picture")
    for row, path in enumerate(paths):
        with _opened(path) as picture:
            pixels[row] = square(picture, image_size)
        progress.advance()
    progress.finish()
    return pixels


def _size(count: int, image_size: int) -> int:
    """Bytes of so many pictures in memory."""
    return count * image_size**2 * 3


def pictures_in(folder: Path, *, nested: bool = True) -> list[Path]:
    """The pictures of a folder by suffix, sorted by path; hidden files and folders are left out.

    Raises:
        InputError: The folder cannot be listed.
    """
    try:
        found = [
            path
            for path in (folder.rglob("*") if nested else folder.iterdir())
            if path.suffix.lower() in SUFFIXES
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and path.is_file()
        ]
    except OSError as error:
        raise InputError(f"cannot read folder {folder}: {error.strerror}") from error
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def common_size(paths: Sequence[Path]) -> int:
    """The shorter side in pixels of pictures that are all of one size, from their headers.

    Raises:
        ConfigError: They differ.
        InputError: A picture cannot be read.
    """
    sizes: dict[tuple[int, int], Path] = {}
    for path in paths:
        with _opened(path) as picture:
            sizes.setdefault(picture.size, path)
        if len(sizes) > 1:
            (first, a), (second, b) = sizes.items()
            raise ConfigError(
                f"pictures differ in size: {a} is {first[0]}x{first[1]}, "
                f"{b} is {second[0]}x{second[1]}",
                hint="say which size they should have: --image-size to train, image_size=PIXELS "
                "after a weights file or a model",
            )
    (width, height), *_ = sizes
    return min(width, height)


def _split_folder(folder: Path, split: str) -> Path | None:
    for name in SPLIT_FOLDERS[split]:
        if (folder / name).is_dir():
            return folder / name
    return None


def _class_names(folder: Path) -> list[str]:
    try:
        names = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    except OSError as error:
        raise InputError(f"cannot read folder {folder}: {error.strerror}") from error
    for name in names:
        if printable(name) != name:
            raise InputError(
                f"the name of class folder {printable(str(folder / name))} is not UTF-8",
                hint="rename it: class names stand in weights, tables and labels.txt",
            )
    return names


def _labelled(folder: Path, *, gaps: bool = False) -> dict[str, list[Path]]:
    """Pictures by class, both sorted; classes without any only where gaps are allowed."""
    found = {name: pictures_in(folder / name) for name in _class_names(folder)}
    if not any(found.values()) and (gaps or not found):
        if pictures_in(folder, nested=False):
            raise InputError(
                f"the pictures of {folder} lie in no class folder",
                hint="expected <class>/* in it: a folder for each class, which names it",
            )
        raise InputError(f"{folder} holds no pictures and no folders of pictures")
    for name, paths in found.items():
        if not paths and not gaps:
            raise InputError(
                f"class folder {folder / name} holds no pictures",
                hint=f"picture files end in {', '.join(sorted(SUFFIXES))}",
            )
    return found


def _same_classes(folder: Path, split: str, found: list[str], expected: list[str]) -> None:
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if missing or extra:
        parts = [f"lacks {', '.join(missing)}"] if missing else []
        parts += [f"has {', '.join(extra)} besides"] if extra else []
        raise InputError(
            f"the classes of {folder}'s {split} folder differ from train: it {' and '.join(parts)}"
        )


def _image_set(
    name: str, found: dict[str, list[Path]], image_size: int, progress: Progress
) -> ImageSet:
    counts = [len(paths) for paths in found.values()]
    pixels = read_pictures(
        [path for paths in found.values() for path in paths],
        image_size=image_size,
        progress=progress,
    )
    labels = np.repeat(np.arange(len(found), dtype=np.int64), counts)
    return ImageSet(name, pixels, labels, tuple(found))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture, whose damage becomes an InputError that names it."""
    try:
        with warnings.catch_warnings():
            # Odd tags in a readable picture are no news; a bomb of pixels is an error below.
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                yield picture
    except _DAMAGE as error:
        if isinstance(error, UnidentifiedImageError):
            reason = "not a picture"
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        else:
            reason = str(error)
        raise InputError(f"cannot read picture {path}: {reason}") from error
