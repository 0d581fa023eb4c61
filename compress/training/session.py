"""A run's training from its plans to its files: in groups, saved and resumed."""

from collections.abc import Callable, Sequence

import torch

from compress.config.distill import StudentPlan
from compress.data.images import Splits
from compress.errors import ConfigError
from compress.interrupts import StopRequest
from compress.progress import Progress
from compress.runs import CHECKPOINT, Run
from compress.training import state as checkpoints
from compress.training.answers import Teaching
from compress.training.distributed import World
from compress.training.inputs import TrainingImages
from compress.training.learner import Learner
from compress.training.loop import Position, Source, run_epochs
from compress.training.results import STUDENTS, Finished, finish, read_finished
from compress.training.schedule import Schedule
from compress.training.students import build_learner


def train_students(
    run: Run,
    splits: Splits,
    plans: Sequence[StudentPlan],
    schedule: Schedule,
    source_of: Callable[[TrainingImages], Source],
    *,
    device: torch.device,
    world: World,
    progress: Progress,
    stop: StopRequest,
) -> list[Finished]:
    """Train every plan, in groups, resuming what is there; write weights and predictions.

    Args:
        run: Held open; receives the files.
        splits: The data.
        plans: What to train.
        schedule: What they share.
        source_of: Makes the source of soft labels from the training images.
        device: Where to compute.
        world: The ranks of the run.
        progress: Told of everything.
        stop: Asks to stop after an epoch.

    Returns:
        One entry per plan, in their order.

    Raises:
        Interrupted: Asked to stop.
        ConfigError: A batch is larger than the training split, or an option is unknown.
        UnusableError: A loss is not finite.
    """
    if schedule.batch_size > splits.train.count:
        raise ConfigError(
            f"--batch-size {schedule.batch_size} is larger than the {splits.train.count} "
            "training images"
        )
    images = TrainingImages(splits.train, device=device, workers=schedule.workers)
    source = source_of(images)
    threads = int(run.choose("threads", torch.get_num_threads))
    torch.set_num_threads(threads)
    size = schedule.group or len(plans)
    saved = checkpoints.load(run.folder / CHECKPOINT)
    log = [] if saved is None else Position.from_state(saved["position"]).log
    for number, first in enumerate(range(0, len(plans), size)):
        group = plans[first : first + size]
        if saved is not None and saved["group"] > number:
            continue
        if all((run.folder / STUDENTS / f"{plan.label}.json").is_file() for plan in group):
            continue
        learners = [
            build_learner(
                run, splits, plan, schedule, source, device=device, world=world, progress=progress
            )
            for plan in group
        ]
        if isinstance(source, Teaching):
            taps = dict.fromkeys(path for ln in learners for path in ln.objective.teacher_taps)
            source.tap(tuple(taps))
        position = Position(log=list(log))
        if saved is not None and saved["group"] == number:
            position = Position.from_state(saved["position"])
            for learner, state in zip(learners, saved["learners"], strict=True):
                learner.load_state(state)
            progress.note(
                f"resuming after epoch {position.epoch}"
                + (f", step {position.step}" if position.step else "")
            )

        def save(
            position: Position, number: int = number, learners: Sequence[Learner] = learners
        ) -> None:
            if world.main:
                states = [learner.state() for learner in learners]
                checkpoints.save(
                    run.folder / CHECKPOINT,
                    {"group": number, "position": position.state(), "learners": states},
                )
                run.write_epochs(position.log)
            world.barrier()

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
            device=device,
            world=world,
            progress=progress,
            stop=stop,
        )
        log = position.log
        if world.main:
            run.write_epochs(log)
            for plan, learner in zip(group, learners, strict=True):
                finish(run, splits, plan, learner, images, device)
        world.barrier()
    return [read_finished(run, plan) for plan in plans] if world.main else []
