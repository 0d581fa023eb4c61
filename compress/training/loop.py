"""The loop: every batch is augmented once, then every student takes its step."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from compress import evaluate
from compress.data.images import ImageSet
from compress.data.views import View
from compress.errors import DivergedError, Interrupted
from compress.progress import Progress
from compress.records.run import EpochRecord
from compress.records.training import DivergedRow
from compress.training.device import synchronize
from compress.training.distributed import World
from compress.training.inputs import Batch, TrainingImages, as_tensor
from compress.training.learner import Learner
from compress.training.workplace import Workplace

FIGURES_EVERY = 20
NAMED = 4
"""Models whose figures the line of an epoch names one by one; of more it tells the range."""
Seen = TypeVar("Seen")
LeaveOut = Callable[[Learner, DivergedError], None]
"""Told of a learner that diverged; may raise what it is told, and so end the training."""


def give_up(_learner: Learner, error: DivergedError) -> None:
    """Leave nobody out: the training ends."""
    raise error


class Source(Protocol):
    """Where the teaching comes from."""

    @property
    def seconds(self) -> float:
        """The device's time for a teacher's forward passes for this run; waits for it."""
        ...

    def goes_on(self, seconds: float) -> None:
        """Count the time that the teacher spent on the same run in processes before this one."""
        ...

    def tap(self, paths: Sequence[str]) -> None:
        """Have the outputs of these modules of the teacher in `features`, and no others.

        Raises:
            ConfigError: There is no teacher that could run live.
        """
        ...

    def labels(self, view: View) -> Tensor | None:
        """The stored logits of a view, float16 (images, classes) on the device; None: nobody."""
        ...

    def features(self, batch: Batch) -> Mapping[str, Tensor]:
        """A live teacher's features of a batch by module path; empty where no loss needs any."""
        ...


class Nobody:
    """The source of a training without a teacher."""

    seconds = 0.0

    def goes_on(self, seconds: float) -> None:
        """No time is spent."""

    def tap(self, paths: Sequence[str]) -> None:
        """No features."""

    def labels(self, view: View) -> Tensor | None:  # noqa: ARG002
        """No stored logits."""
        return None

    def features(self, batch: Batch) -> Mapping[str, Tensor]:  # noqa: ARG002
        """No features."""
        return {}


@dataclass
class Position:
    """How far a training has come.

    Attributes:
        epoch: Finished epochs.
        step: Finished steps of the epoch after them.
        log: One record per finished epoch and learner.
        epoch_seconds: Time spent in the unfinished epoch before this process.
        diverged: Who was left out on the way.
    """

    epoch: int = 0
    step: int = 0
    log: list[EpochRecord] = field(default_factory=list)
    epoch_seconds: float = 0.0
    diverged: list[DivergedRow] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "log": [record.model_dump() for record in self.log],
            "epoch_seconds": self.epoch_seconds,
            "diverged": [row.model_dump() for row in self.diverged],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Position":
        """The inverse of `state`."""
        log = [EpochRecord.model_validate(record) for record in state["log"]]
        # what versions before the one that leaves students out saved has no such list
        diverged = [DivergedRow.model_validate(row) for row in state.get("diverged", ())]
        return cls(state["epoch"], state["step"], log, state["epoch_seconds"], diverged)


def run_epochs(
    learners: list[Learner],
    images: TrainingImages,
    validation: ImageSet,
    source: Source,
    *,
    view_of: Callable[[int], View],
    epochs: int,
    batch_size: int,
    position: Position,
    save: Callable[[Position], None],
    checkpoint_every: int,
    leave_out: LeaveOut = give_up,
    heading: str = "",
    place: Workplace,
) -> None:
    """Train to the last epoch, from wherever the position is, or until nobody is left.

    Args:
        learners: Trained on the same batches, in this order; who diverges is removed.
        images: The training split.
        validation: Chooses each learner's epoch.
        source: The teacher, or nobody.
        view_of: The view of an epoch, from 0.
        epochs: All of them.
        batch_size: Over all ranks.
        position: Where to begin; moved as the training goes on.
        save: Writes a checkpoint of the learners and the position.
        checkpoint_every: Steps between checkpoints inside an epoch; 0 is none.
        leave_out: Told of each learner whose loss, weights or answers are no numbers.
        heading: Shown before the epoch that runs, with a space at its end: whose epochs they are.
        place: Where the learners are; `stop` is looked at after every epoch.

    Raises:
        Interrupted: Asked to stop; the finished epochs are saved.
        DivergedError: `leave_out` did not go on without a learner; the last checkpoint stands.
        MachineError: A learner's step does not fit into memory.
    """
    world, progress = place.world, place.progress
    steps = images.count // batch_size
    pixels, labels = as_tensor(validation, place.device), validation.known_labels
    while learners and position.epoch < epochs:
        epoch = position.epoch
        view = view_of(epoch)
        reading = any(learner.objective.reads_logits for learner in learners)
        soft = source.labels(view) if reading else None
        if position.step == 0:
            for learner in learners:
                learner.begin_epoch()
        progress.start(f"{heading}epoch {epoch + 1}/{epochs}", total=steps, unit="step")
        progress.advance(position.step)
        begin = time.perf_counter() - position.epoch_seconds
        dealt = images.batches(view, batch_size, start=position.step, share=world.share)
        for batch in dealt:
            _one_step(learners, batch, soft, source, step=epoch * steps + position.step)
            position.step += 1
            last = position.step == steps
            _show(learners, progress, position.step, batch_size, leave_out, last=last)
            if checkpoint_every and position.step % checkpoint_every == 0 and not last:
                _check_weights(learners, world, leave_out)
                position.epoch_seconds = time.perf_counter() - begin
                save(position)
            if not learners:
                break
        synchronize(place.device)
        rate = steps * batch_size / (time.perf_counter() - begin)
        records = _end_epoch(
            learners,
            pixels,
            labels,
            leave_out,
            epoch=epoch,
            rate=rate,
            world=world,
        )
        position.log.extend(records)
        position.epoch, position.step, position.epoch_seconds = epoch + 1, 0, 0.0
        save(position)
        progress.finish(_summary(records, epoch + 1, epochs, rate) if learners else "")
        if world.agree(place.stop.requested) and position.epoch < epochs:
            raise Interrupted(
                f"stopped after epoch {position.epoch} of {epochs}, which is saved",
                hint="the same command goes on from there",
            )


def _one_step(
    learners: Sequence[Learner],
    batch: Batch,
    soft: Tensor | None,
    source: Source,
    *,
    step: int,
) -> None:
    logits = None if soft is None else soft[batch.rows].float()
    features = source.features(batch)
    for learner in learners:
        learner.step(batch, logits, features, step=step)


def _each(
    learners: list[Learner], leave_out: LeaveOut, look: Callable[[Learner], Seen]
) -> list[Seen]:
    """What is seen of every learner that goes on; who turns out to have diverged is removed.

    Every rank sees the same: what a look is about is agreed on among all.
    """
    found = []
    for learner in tuple(learners):
        try:
            found.append(look(learner))
        except DivergedError as error:
            leave_out(learner, error)
            learners.remove(learner)
    return found


def _check_weights(learners: list[Learner], world: World, leave_out: LeaveOut) -> None:
    """Keep a learner whose losses or weights are no numbers from being saved."""

    def check(learner: Learner) -> None:
        learner.figures()
        if world.agree(not learner.is_finite()):
            raise learner.diverged("a weight")

    _each(learners, leave_out, check)


def _end_epoch(
    learners: list[Learner],
    pixels: Tensor,
    labels: NDArray[np.int64],
    leave_out: LeaveOut,
    *,
    epoch: int,
    rate: float,
    world: World,
) -> list[EpochRecord]:
    """Evaluate every learner and let it keep the epoch if it is its best.

    Args:
        learners: At the end of an epoch.
        pixels: The validation images, uint8 (images, 3, size, size), on the device.
        labels: (images,)
        leave_out: Told of who diverged.
        epoch: From 0.
        rate: Images per second in it.
        world: The ranks that learn together; only the first evaluates.

    Returns:
        One record per learner, in their order; none on other ranks than the first.
    """

    def look(learner: Learner) -> EpochRecord | None:
        loss, train_top1 = learner.figures()
        logits = learner.logits(pixels) if world.main else None
        broken = logits is not None and not np.isfinite(logits).all()
        if world.agree(broken or not learner.is_finite()):
            raise learner.diverged("an output")
        if logits is None:
            return None
        val_top1 = float(evaluate.top1(logits, labels))
        val_loss = float(evaluate.nll(logits, labels))
        learner.consider(epoch + 1, val_top1, val_loss, logits)
        return EpochRecord(
            label=learner.label,
            epoch=epoch + 1,
            loss=loss,
            train_top1=train_top1,
            val_top1=val_top1,
            val_loss=val_loss,
            learning_rate=learner.learning_rate,
            images_per_second=rate,
            seconds=learner.epoch_seconds,
        )

    return [record for record in _each(learners, leave_out, look) if record is not None]


def _show(
    learners: list[Learner],
    progress: Progress,
    step: int,
    batch_size: int,
    leave_out: LeaveOut,
    *,
    last: bool,
) -> None:
    """Advance the bar; figures, which make a GPU wait, only now and then."""
    figures: list[tuple[float, float]] = []
    if step % FIGURES_EVERY == 0 or last or step == 1:
        figures = _each(learners, leave_out, Learner.figures)
    if figures:
        loss = sum(f[0] for f in figures) / len(figures)
        top1 = sum(f[1] for f in figures) / len(figures)
        progress.advance(1, images=batch_size, loss=loss, top1=top1)
    else:
        progress.advance(1, images=batch_size)


def _summary(records: Sequence[EpochRecord], epoch: int, epochs: int, rate: float) -> str:
    """The line that stays of an epoch."""
    shown = "  ".join(
        f"{record.label} loss {record.loss:.3f} val {record.val_top1:.2%}" for record in records
    )
    if len(records) > NAMED:
        best = max(records, key=lambda record: record.val_top1)
        worst = min(record.val_top1 for record in records)
        between = f"{worst:.2%} to {best.val_top1:.2%}"
        shown = f"{len(records)} models, val {between} (best {best.label})"
    return f"epoch {epoch}/{epochs}  {shown}  {rate:.0f} images/s"
