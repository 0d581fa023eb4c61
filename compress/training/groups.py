"""Who of a run still trains, in which groups, and from which checkpoint each group goes on."""

import filecmp
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from compress.config.distill import StudentPlan
from compress.files import atomic_path
from compress.records.run import EpochRecord
from compress.runs import CHECKPOINT, WAITING, Run
from compress.training import state as checkpoints
from compress.training.distributed import World
from compress.training.loop import Position
from compress.training.results import unfinished


@dataclass(frozen=True)
class Checkpoint:
    """Who stands in a checkpoint; the file itself is as large as all that learns.

    Attributes:
        name: Of the file, inside the run directory.
        labels: Of all that trained together.
        diverged: Of those among them that had been left out.
    """

    name: str
    labels: frozenset[str]
    diverged: frozenset[str]


@dataclass(frozen=True)
class Begun:
    """What the checkpoints of a run tell of it.

    Attributes:
        latest: That of the group that trained last; None before its first.
        waiting: Those put aside; the last, which know most of a student, first.
        log: Every epoch so far.
        seconds: Spent on the run so far.
        teacher_seconds: Of the device, on the teacher's forward passes; 0 in older checkpoints.
    """

    latest: Checkpoint | None = None
    waiting: tuple[Checkpoint, ...] = ()
    log: tuple[EpochRecord, ...] = ()
    seconds: float = 0.0
    teacher_seconds: float = 0.0

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Of a run directory.

        Raises:
            InputError: A checkpoint is damaged, or of another version.
        """
        waiting = tuple(
            _who(path.name, saved)
            for path in waiting_files(folder)
            if (saved := checkpoints.load(path)) is not None
        )
        newest = checkpoints.load(folder / CHECKPOINT)
        if newest is None:
            return cls(waiting=waiting)
        return cls(
            _who(CHECKPOINT, newest),
            waiting,
            log=tuple(Position.from_state(newest["position"]).log),
            seconds=newest["seconds"],
            teacher_seconds=newest.get("teacher_seconds", 0.0),
        )

    @property
    def diverged(self) -> frozenset[str]:
        """The labels of all that were left out."""
        own = () if self.latest is None else (self.latest,)
        return frozenset().union(*(one.diverged for one in (*own, *self.waiting)))


@dataclass(frozen=True)
class Group:
    """Students that train side by side.

    Attributes:
        plans: Of each.
        checkpoint: The file of the run that they go on from; None begins anew.
    """

    plans: tuple[StudentPlan, ...]
    checkpoint: str | None


def groups_to_train(
    run: Run, plans: Sequence[StudentPlan], begun: Begun, *, size: int, world: World
) -> list[Group]:
    """The groups still to be trained, in their order.

    A student's result does not depend on its company. So a group that has begun and is now too
    large goes on in parts: its checkpoint is put aside, since each part writes checkpoints of its
    own, and each part starts from there. A part that is too large, too, is put aside beside it.

    Args:
        run: Holds the files of finished students.
        plans: All of them.
        begun: What was trained so far.
        size: Of the groups.
        world: Rank 0 puts aside.

    Raises:
        InputError: A file of the run is damaged, or cannot be written.
    """
    left = unfinished(run, plans)
    known = list(begun.waiting)
    if begun.latest is not None:
        latest = begun.latest
        if sum(plan.label in latest.labels for plan in left) > size:
            latest = replace(latest, name=world.from_main(lambda: _put_aside(run.folder)))
        known.insert(0, latest)
    groups: list[Group] = []
    for one in known:
        groups += _parts([plan for plan in left if plan.label in one.labels], size, one.name)
        left = [plan for plan in left if plan.label not in one.labels]
    return groups + _parts(left, size, None)


def waiting_files(folder: Path) -> list[Path]:
    """The checkpoints in a run directory that were put aside, the last first."""
    found = folder.glob(WAITING.format("*"))
    return sorted(found, key=lambda path: (len(path.name), path.name), reverse=True)


def _who(name: str, saved: Mapping[str, Any]) -> Checkpoint:
    """Who stands in a checkpoint of that name."""
    position = Position.from_state(saved["position"])
    diverged = frozenset(row.label for row in position.diverged)
    learning = {state["label"] for state in saved["learners"]}
    return Checkpoint(name, diverged | learning, diverged)


def _parts(plans: Sequence[StudentPlan], size: int, checkpoint: str | None) -> list[Group]:
    starts = range(0, len(plans), size)
    return [Group(tuple(plans[first : first + size]), checkpoint) for first in starts]


def _put_aside(folder: Path) -> str:
    """Keep a copy of the latest checkpoint; its name.

    Raises:
        InputError: It cannot be written.
    """
    before = waiting_files(folder)
    if before and filecmp.cmp(before[0], folder / CHECKPOINT, shallow=False):
        return before[0].name  # a process that ended right after this made it
    name = WAITING.format(f"-{len(before) + 1}" if before else "")
    with atomic_path(folder / name) as part:
        shutil.copyfile(folder / CHECKPOINT, part)
    return name
