"""Where things are kept that can be made again: soft labels, format trials, downloads."""

import os
from pathlib import Path

from compress.errors import MachineError


def cache_folder() -> Path:
    """`$COMPRESS_CACHE`, else the user's cache folder.

    Raises:
        MachineError: The system knows no home folder of this user.
    """
    if place := os.environ.get("COMPRESS_CACHE"):
        return Path(place)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "compress"
    try:
        return Path.home() / ".cache" / "compress"
    except RuntimeError as error:
        raise MachineError(
            "this user has no home folder", hint="set COMPRESS_CACHE to a folder for what is kept"
        ) from error
