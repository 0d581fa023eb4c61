"""What every part of a running command shares beside its own matter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from compress.interrupts import StopRequest
from compress.progress import Progress, Silent
from compress.records.run import EpochRecord
from compress.training.distributed import World

Watch = Callable[[Path, Sequence[EpochRecord]], None]
"""Shown a run's directory and its epoch log each time that is saved, by the first rank alone."""


def unwatched(_folder: Path, _epochs: Sequence[EpochRecord]) -> None:
    """Nobody looks at the curves before the run is over."""


@dataclass(frozen=True)
class Workplace:
    """Where a command computes, with whom, whom it tells, and what stops it.

    Attributes:
        device: Where models and images are.
        world: The processes that work together.
        progress: Told of everything.
        stop: Looked at where work can be ended and taken up again.
        watch: Shown the learning curves while they grow.
    """

    device: torch.device
    world: World = field(default_factory=World)
    progress: Progress = field(default_factory=Silent)
    stop: StopRequest = field(default_factory=StopRequest)
    watch: Watch = unwatched
