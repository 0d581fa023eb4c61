"""Options of `compress report`."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from compress.config.specs import Frozen


class ReportConfig(Frozen):
    """A page about finished runs.

    Attributes:
        runs: Ids, folders, or `last`.
        out: Folder of report.html and report.md; None is `report` in the run, or in the working
            folder for several runs.
        data_dir: Where CIFAR lies; the images are never downloaded.
    """

    runs: Annotated[tuple[str, ...], Field(min_length=1)]
    out: Path | None = None
    data_dir: Path | None = None
