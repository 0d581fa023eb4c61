"""Options of `compress list`."""

from pathlib import Path
from typing import Literal

from compress.config.specs import Frozen

Kind = Literal["models", "losses", "data", "recipes", "runs", "soft-labels"]


class ListConfig(Frozen):
    """What there is to choose from.

    Attributes:
        what: Which list.
        soft_labels: Folder of stored soft labels; None is the user's cache.
    """

    what: Kind
    soft_labels: Path | None = None
