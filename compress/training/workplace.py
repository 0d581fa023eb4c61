"""What every part of a running command shares beside its own matter."""

from dataclasses import dataclass, field

import torch

from compress.interrupts import StopRequest
from compress.progress import Progress, Silent
from compress.training.distributed import World


@dataclass(frozen=True)
class Workplace:
    """Where a command computes, with whom, whom it tells, and what stops it.

    Attributes:
        device: Where models and images are.
        world: The processes that work together.
        progress: Told of everything.
        stop: Looked at where work can be ended and taken up again.
    """

    device: torch.device
    world: World = field(default_factory=World)
    progress: Progress = field(default_factory=Silent)
    stop: StopRequest = field(default_factory=StopRequest)
