"""Configurations of trainings that take a second: a narrow network on the digits at 8 pixels."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.config.distill import DistillConfig, distill_config
from compress.config.recipes import build
from compress.config.soft_labels import SoftLabelsConfig
from compress.config.specs import Reference
from compress.config.train import TrainConfig
from compress.errors import Interrupted
from compress.records.distill import DistillRecord
from compress.records.soft_labels import SoftLabelsRecord
from compress.stages.distill import distill
from compress.stages.soft_labels import soft_labels
from tests.notes import Notes

MODEL = "small_cnn:width=0.25"
TINY: dict[str, Any] = {
    "data": "digits",
    "image_size": 8,
    "epochs": 2,
    "batch_size": 128,
    "learning_rate": 0.1,
    "amp": "off",
    "device": "cpu",
}


def train_config(**changes: Any) -> TrainConfig:
    """A tiny training."""
    return build(TrainConfig, TINY, {"model": MODEL}, changes)


def distill_flags(**changes: Any) -> dict[str, Any]:
    """What a user would say for a tiny distillation."""
    return {**TINY, "student": [MODEL], **changes}


def tiny_distill(**changes: Any) -> DistillConfig:
    """A tiny distillation."""
    return distill_config(distill_flags(**changes))


def store_answers(teacher: str, folder: Path, *, views: int = 2) -> SoftLabelsRecord:
    """Answers to the views of a tiny distillation, made ahead of time."""
    return soft_labels(
        SoftLabelsConfig(
            teacher=(Reference(target=teacher),),
            image_size=8,
            views=views,
            augmentation=tiny_distill().augmentation,
            soft_labels=folder,
            device="cpu",
            amp="off",
        )
    )


@contextmanager
def place(folder: Path) -> Iterator[Path]:
    """Work in a folder with a cache of its own, on one thread."""
    folder.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COMPRESS_CACHE", str(folder / "cache"))
        yield folder
    torch.set_num_threads(threads)


class Disturbed(Notes):
    """Progress during which a signal comes at some step."""

    def __init__(self, at_step: int, number: int = signal.SIGINT) -> None:
        super().__init__()
        self._steps, self._number = at_step, number
        self._training = False

    def start(self, task: str, *, total: int, unit: str) -> None:
        """Only steps of a training count."""
        super().start(task, total=total, unit=unit)
        self._training = unit == "step"

    def advance(self, amount: int = 1, *, images: int = 0, **figures: float) -> None:
        """Count, then send the signal to this very process."""
        self._steps -= amount * self._training
        if self._steps == 0 and self._training and amount:
            os.kill(os.getpid(), self._number)


def files(folder: Path, pattern: str = "students/*.safetensors") -> dict[str, bytes]:
    """The content of some files of a run, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob(pattern))}


def taught(progress: Any = None, **changes: Any) -> DistillRecord:
    """One student, no control."""
    config = tiny_distill(**{"control": False, **changes})
    return distill(config, progress=progress or Notes())


def begun(**changes: Any) -> None:
    """A run that was stopped in its first epoch."""
    with pytest.raises(Interrupted):
        taught(progress=Disturbed(3), **changes)
