"""CIFAR-10 and CIFAR-100 from the official files, in the binary or the python layout.

Every file is compared with the checksum of the official one before its content is used: the
binary files by the SHA-256 that TorchVision for Ruby publishes, the python files by the MD5 that
torchvision publishes. Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny
Images", 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.cache import cache_folder
from compress.data import downloads, places
from compress.data.cifar_layouts import CIFAR10, CIFAR100, SIDE, Layout, SourceFile
from compress.data.cifar_pickles import read_batch
from compress.data.images import ImageSet
from compress.errors import InputError
from compress.progress import Progress

BLOCK_ROWS = 1000
CHANNELS = 3
PIXELS = CHANNELS * SIDE * SIDE
Block = tuple[NDArray[np.uint8], NDArray[np.int64]]


def read_cifar10(
    split: str, *, data_dir: Path | None, download: bool, progress: Progress
) -> ImageSet | None:
    """Read one split of CIFAR-10; see `read`."""
    return read(CIFAR10, split, data_dir=data_dir, download=download, progress=progress)


def read_cifar100(
    split: str, *, data_dir: Path | None, download: bool, progress: Progress
) -> ImageSet | None:
    """Read one split of CIFAR-100 with its 100 fine classes; see `read`."""
    return read(CIFAR100, split, data_dir=data_dir, download=download, progress=progress)


def read(
    layouts: tuple[Layout, ...],
    split: str,
    *,
    data_dir: Path | None,
    download: bool,
    progress: Progress,
) -> ImageSet | None:
    """Read one split from the first folder that holds the data set in one of its layouts.

    Args:
        layouts: The layouts to look for; the first can be downloaded.
        split: "train" (50,000 images), "validation" (None: there is none) or "test" (10,000).
        data_dir: Where to look first and, if given, download to; then `$COMPRESS_DATA`, the cache
            folder and the place where the data set was last named are searched.
        download: Fetch the files if they are nowhere.
        progress: Shows the download.

    Returns:
        uint8 (count, 32, 32, 3); the same, whatever the layout.

    Raises:
        InputError: Files are missing and not to be had, truncated or altered.
    """
    if split == "validation":
        return None
    layout, folder = _locate(layouts, data_dir=data_dir, download=download, progress=progress)
    files = layout.test if split == "test" else layout.train
    count = sum(file.rows for file in files)
    images = np.empty((count, SIDE, SIDE, CHANNELS), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int64)
    start = 0
    for file in files:
        reader = _python_blocks if layout.pickled else _binary_blocks
        for planes, block_labels in reader(folder / file.name, file, layout):
            end = start + len(block_labels)
            pixels = planes.reshape(-1, CHANNELS, SIDE, SIDE)
            images[start:end] = pixels.transpose(0, 2, 3, 1)
            labels[start:end] = block_labels
            start = end
    if data_dir and data_dir in {folder, folder.parent}:
        places.remember(layout.dataset, data_dir)
    return ImageSet(f"{layout.dataset} {split}", images, labels, layout.class_names)


def roots(data_dir: Path | None, dataset: str) -> tuple[Path, ...]:
    """The folders that are searched for a data set, in order."""
    named = [data_dir] if data_dir else []
    if place := os.environ.get("COMPRESS_DATA"):
        named.append(Path(place))
    last = places.remembered(dataset)
    return (*named, cache_folder() / "data", *([last] if last and last not in named else []))


def _locate(
    layouts: tuple[Layout, ...], *, data_dir: Path | None, download: bool, progress: Progress
) -> tuple[Layout, Path]:
    wanted = layouts[0]
    searched = roots(data_dir, wanted.dataset)
    for root in searched:
        found = _layout_in(root, layouts)
        if found is not None:
            return found
    if not download:
        raise InputError(
            f"{wanted.dataset} is in none of {', '.join(map(str, searched))}",
            hint=f"unpack {wanted.archive.url} in a folder and name it with --data-dir "
            "or COMPRESS_DATA",
        )
    root = data_dir or cache_folder() / "data"
    downloads.fetch(wanted.archive, root, progress=progress)
    return wanted, root / wanted.folder


def _layout_in(root: Path, layouts: tuple[Layout, ...]) -> tuple[Layout, Path] | None:
    """The first layout that a folder, or an archive in it, has, and where its files lie.

    A folder that lacks files counts where no archive can complete it: what is missing is told then.
    """
    begun = []
    for layout in layouts:
        for folder in (
            root / layout.folder,
            *([root] if root.resolve().name == layout.folder else []),
        ):
            if folder.is_dir():
                if all((folder / file.name).is_file() for file in (*layout.train, *layout.test)):
                    return layout, folder
                begun.append((layout, folder))
        if (root / layout.archive.name).is_file():
            downloads.unpack(layout.archive, root / layout.archive.name, root)
            return layout, root / layout.folder
    return begun[0] if begun else None


def _binary_blocks(path: Path, file: SourceFile, layout: Layout) -> Iterator[Block]:
    """Pixel planes uint8 (rows, 3072) and labels int64 (rows,) of a binary file, block by block.

    The file is verified as a whole before the first block is given.
    """
    row = layout.label_bytes + PIXELS
    downloads.verify(path, file.checksum, size=row * file.rows)
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(BLOCK_ROWS * row):
                table = np.frombuffer(chunk, dtype=np.uint8).reshape(-1, row)
                labels = table[:, layout.label_bytes - 1].astype(np.int64)
                yield table[:, layout.label_bytes :], labels
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def _python_blocks(path: Path, file: SourceFile, layout: Layout) -> Iterator[Block]:
    """The same of a python file, as one block."""
    content = downloads.read_verified(path, file.checksum)
    planes, labels = read_batch(content, path, label_key=layout.label_key)
    if planes.shape != (file.rows, PIXELS) or labels.shape != (file.rows,):
        raise InputError(
            f"{path} holds pixels {planes.shape} and labels {labels.shape}, "
            f"expected {file.rows} rows of {PIXELS} and {file.rows} labels"
        )
    yield planes, labels
