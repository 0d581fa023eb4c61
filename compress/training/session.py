"""A run's training from its plans to its files: in groups, saved and resumed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from compress.config.distill import StudentPlan
from compress.data.images import Splits
from compress.errors import ConfigError, DivergedError, Interrupted
from compress.records.run import EpochRecord
from compress.runs import CHECKPOINT, Run
from compress.training import state as checkpoints
from compress.training.distributed import World
from compress.training.groups import Begun, Group, groups_to_train, waiting_files
from compress.training.inputs import TrainingImages
from compress.training.learner import Learner
from compress.training.loop import Position, Source, run_epochs
from compress.training.members import Member
from compress.training.memory import SMALLER, shortage_explained
from compress.training.results import (
    Finished,
    diverged_row,
    finish,
    note_diverged,
    read_diverged,
    read_finished,
)
from compress.training.schedule import Schedule
from compress.training.students import build_learner
from compress.training.workplace import Workplace

SMALLEST_SHARE = 2
"""Images of a step on one rank: of a single value BatchNorm has no variance to divide by."""
NAMED = 3
"""Students that a note names."""


def check_batch(batch_size: int, *, images: int, world: World) -> None:
    """Refuse a batch size that cannot work; also for use before work on the run's behalf.

    Args:
        batch_size: Over all ranks.
        images: Those to train on.
        world: The ranks of the run.

    Raises:
        ConfigError: It is larger than the training split, or each rank's share of it is not a
            whole number or below 2.
    """
    asked = f"--batch-size {batch_size}"
    if batch_size > images:
        share = images // world.size
        fits = world.size * 2 ** (share.bit_length() - 1)  # a power of two per rank
        raise ConfigError(
            f"{asked} is larger than the {images} training images",
            hint=f"use --batch-size {fits}" if share >= SMALLEST_SHARE else "",
        )
    if batch_size % world.size:
        raise ConfigError(
            f"{asked} cannot be split evenly among {_ranks(world.size)}",
            hint=f"use a multiple of {world.size}",
        )
    if batch_size < SMALLEST_SHARE * world.size:
        where = f" on each of {_ranks(world.size)}" if world.size > 1 else ""
        raise ConfigError(
            f"{asked} is 1 image a step{where}: BatchNorm and the losses that compare images "
            f"need {SMALLEST_SHARE}",
            hint=f"use --batch-size {SMALLEST_SHARE * world.size} or more",
        )


def train_students(
    run: Run,
    splits: Splits,
    plans: Sequence[StudentPlan],
    schedule: Schedule,
    source_of: Callable[[TrainingImages], Source],
    place: Workplace,
    initial: Mapping[str, Member] | None = None,
) -> list[Finished]:
    """Train every plan, in groups, resuming what is there; write weights and predictions.

    Args:
        run: Held open; receives the files.
        splits: The data.
        plans: What to train.
        schedule: What they share.
        source_of: Makes the source of soft labels from the training images.
        place: Where to compute; `stop` ends the training after an epoch.
        initial: Weights to begin with, by label; who has none begins with those its seed draws.

    Returns:
        One entry per plan that was trained to its end, in their order; `read_diverged` tells of the
        others.

    Raises:
        Interrupted: Asked to stop.
        ConfigError: The batch size does not fit, an option is unknown, or the run was begun with
            another number of ranks.
        MachineError: The images, a student, or all of a group do not fit into memory.
        DivergedError: A loss is not finite, and no other student is left.
    """
    world = place.world
    check_batch(schedule.batch_size, images=splits.swept, world=world)
    _check_ranks(run, world)
    _check_device(run, place)
    images = TrainingImages(
        splits.train, splits.unlabelled, device=place.device, workers=schedule.workers
    )
    source = source_of(images)
    threads = world.from_main(lambda: int(run.choose("threads", torch.get_num_threads)))
    torch.set_num_threads(threads)
    begun = world.from_main(lambda: Begun.read(run.folder))
    run.seconds_before = begun.seconds
    source.goes_on(begun.teacher_seconds)
    log = list(begun.log)
    hopes = {plan.label for plan in plans if plan.role == "student"} or {p.label for p in plans}
    hopes -= begun.diverged | {row.label for row in read_diverged(run, plans)}
    begins = initial or {}
    size = schedule.group or len(plans)
    groups = groups_to_train(run, plans, begun, size=size, world=world)
    before = (len(plans) - sum(len(group.plans) for group in groups)) // size
    for number, group in enumerate(groups, before + 1):
        labels = [plan.label for plan in group.plans]
        if world.agree(place.stop.requested):
            raise Interrupted(
                f"stopped before {labels[0]}; what is trained is saved",
                hint="the same command goes on from there",
            )
        heading = ""
        if before + len(groups) > 1:
            heading = f"group {number}/{before + len(groups)} "
            more = f" (and {len(labels) - NAMED} more)" if len(labels) > NAMED else ""
            place.progress.note(f"{heading.rstrip()}: {', '.join(labels[:NAMED])}{more}")
        who = labels[0] if len(labels) == 1 else f"training {len(labels)} students at once"
        with shortage_explained(who, SMALLER, fewer=_fewer(run, labels)):
            log = _train_group(
                run, splits, group, schedule, images, source, log, place, hopes, heading, begins
            )
    if not world.main:
        return []
    for path in waiting_files(run.folder):
        path.unlink()  # nobody waits any more
    diverged = {row.label for row in read_diverged(run, plans)}
    return [read_finished(run, plan) for plan in plans if plan.label not in diverged]


def _train_group(
    run: Run,
    splits: Splits,
    group: Group,
    schedule: Schedule,
    images: TrainingImages,
    source: Source,
    log: Sequence[EpochRecord],
    place: Workplace,
    hopes: set[str],
    heading: str,
    begins: Mapping[str, Member],
) -> list[EpochRecord]:
    """Train students side by side to their end.

    Args:
        run: Receives their files.
        splits: The data.
        group: What to train, and from where.
        schedule: What all students of the run share.
        images: The training split.
        source: The teacher, or nobody.
        log: Epochs of the groups before.
        place: Where to compute; `stop` ends the training after an epoch.
        hopes: Labels of all groups' students, who diverges is removed; without any nobody trains.
        heading: Shown before each epoch; empty where all train at once.
        begins: Weights to begin with, by label.

    Returns:
        The log with this group's epochs.
    """
    world = place.world
    learners = [
        build_learner(
            run,
            splits,
            plan,
            schedule,
            source,
            place,
            # where a checkpoint has the weights, those at the beginning may be gone
            begins.get(plan.label) if group.checkpoint is None else None,
        )
        for plan in group.plans
    ]
    by_label = {plan.label: plan for plan in group.plans}
    position = Position(log=list(log))
    if group.checkpoint is not None:
        position = replace(_taken_up(learners, run.folder / group.checkpoint), log=list(log))
        position.diverged = [row for row in position.diverged if row.label in by_label]
        step = f", step {position.step}" if position.step else ""
        place.progress.note(f"resuming after epoch {position.epoch}{step}")
    _tap(source, learners)

    def write_log() -> None:
        run.write_epochs(position.log)
        place.watch(run.folder, position.log)

    def save(position: Position) -> None:
        states = [learner.state() for learner in learners]
        teacher_seconds = source.seconds

        def write() -> None:
            run.begin()  # every input was found, and a step of all that learns fits
            spent = {"seconds": run.seconds, "teacher_seconds": teacher_seconds}
            checkpoints.save(
                run.folder / CHECKPOINT,
                {"position": position.state(), "learners": states, **spent},
            )
            write_log()

        world.from_main(write)

    def leave_out(learner: Learner, error: DivergedError) -> None:
        hopes.discard(learner.label)
        if not hopes:
            raise error
        plan, epoch = by_label[learner.label], position.epoch + 1
        position.diverged.append(diverged_row(plan, epoch=epoch, reason=error.reason))
        place.progress.note(f"{error.message}; the others go on without it")
        _tap(source, [one for one in learners if one is not learner])

    run_epochs(
        learners,
        images,
        splits.validation,
        source,
        view_of=lambda epoch: schedule.view(splits, epoch),
        epochs=schedule.epochs,
        batch_size=schedule.batch_size,
        position=position,
        save=save,
        checkpoint_every=schedule.checkpoint_every,
        leave_out=leave_out,
        heading=heading,
        place=place,
    )

    def conclude(learner: Learner) -> None:
        finish(run, splits, by_label[learner.label], learner, images)

    def note_others() -> None:
        for row in position.diverged:
            note_diverged(run, row)

    world.from_main(write_log)
    for learner in learners:  # one at a time: the other ranks wait for each only so long
        world.from_main(partial(conclude, learner))
    world.from_main(note_others)
    return position.log


def _tap(source: Source, learners: Sequence[Learner]) -> None:
    """Have the teacher run live for the features that these learn from, and for no others."""
    taps = dict.fromkeys(path for ln in learners for path in ln.objective.teacher_taps)
    source.tap(tuple(taps))


def _fewer(run: Run, labels: Sequence[str]) -> str:
    """How fewer students of a run train at a time than these; empty where it is one already."""
    if len(labels) == 1:
        return ""
    option = "--group 1" if run.manifest.command == "distill" else "--seed"
    return f"{option} trains one at a time, which needs less"


def _taken_up(learners: list[Learner], path: Path) -> Position:
    """Where a checkpoint's training stood, the states of these learners loaded.

    Who had diverged is removed. The checkpoint is as large as all that learns, so nobody keeps it
    longer than this takes.
    """
    saved = checkpoints.load(path)
    if saved is None:
        raise ValueError(f"there is no checkpoint {path} to go on from")
    position = Position.from_state(saved["position"])
    diverged = {row.label for row in position.diverged}
    learners[:] = [learner for learner in learners if learner.label not in diverged]
    states = {state["label"]: state for state in saved["learners"]}
    for learner in learners:
        learner.load_state(states[learner.label])
    return position


def _check_ranks(run: Run, world: World) -> None:
    """Note how many ranks there are, or refuse another number: they are part of the result.

    Each has its own dropout and its own statistics of BatchNorm.

    Raises:
        ConfigError: The run was begun with another number.
    """
    begun = world.from_main(lambda: int(run.choose("ranks", lambda: world.size)))
    if begun != world.size:
        raise ConfigError(
            f"{run.folder} was begun on {_ranks(begun)}, this is {_ranks(world.size)}",
            hint=f"use torchrun --nproc-per-node {begun}, or begin anew with --restart",
        )


def _check_device(run: Run, place: Workplace) -> None:
    """Note the kind of device, or refuse another: number formats and kernels are part of a result.

    Raises:
        ConfigError: The run was begun on another.
    """
    here = place.device.type
    begun = place.world.from_main(lambda: str(run.choose("device", lambda: here)))
    if begun != here:
        raise ConfigError(
            f"{run.folder} was begun on {begun}, this is {here}",
            hint=f"go on where there is {begun}, or begin anew with --restart",
        )


def _ranks(count: int) -> str:
    return f"{count} rank" + ("s" if count > 1 else "")
