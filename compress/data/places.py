"""Remembers where data lie on this machine, so that later commands need not be told again."""

import os
from contextlib import suppress
from pathlib import Path

from compress.cache import cache_folder
from compress.errors import InputError, MachineError
from compress.files import write_bytes


def remembered(key: str) -> Path | None:
    """The folder that was last remembered for some data; it may have gone since.

    Args:
        key: Name of a data set, or sha256 of a folder's test images.
    """
    try:
        return Path(os.fsdecode(_file(key).read_bytes().strip()))
    except (OSError, MachineError):
        return None


def remember(key: str, folder: Path) -> None:
    """Note where data lie. Who reads them there must compare their content all the same.

    Args:
        key: As in `remembered`.
        folder: Where they were read.
    """
    place = folder.absolute()
    if place != remembered(key):
        # a cache that cannot be written costs nothing but the memory
        with suppress(InputError, MachineError):
            write_bytes(_file(key), os.fsencode(place) + b"\n")


def _file(key: str) -> Path:
    return cache_folder() / "data" / f"{key}.place"
