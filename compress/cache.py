"""Where things are kept that can be made again: soft labels, format trials, downloads."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$COMPRESS_CACHE`, else the user's cache folder."""
    if place := os.environ.get("COMPRESS_CACHE"):
        return Path(place)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "compress"
