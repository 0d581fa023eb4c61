"""`compress distill`: students learn from a teacher, each beside its control."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compress import evaluate
from compress.cache import cache_folder
from compress.config.distill import DistillConfig, StudentPlan, plan_students
from compress.config.train import TrainConfig
from compress.data.images import Splits
from compress.environment import read_environment
from compress.errors import ConfigError, Interrupted
from compress.files import write_text
from compress.interrupts import StopRequest, polite_stop
from compress.losses import registry as losses
from compress.models import registry as models
from compress.progress import Progress, Silent
from compress.records.distill import DistillRecord, StudentRow, TeacherRow
from compress.records.run import InputRecord
from compress.records.soft_labels import TeacherDescription
from compress.runs import RECORD, RUNS, Run, opened
from compress.stages import taught_by, teaching
from compress.stages.ensembles import average, check_ensemble
from compress.stages.lessons import lessons_of
from compress.stages.summarize import gains_by_image, summarize
from compress.stages.taught_by import TEACHER
from compress.stages.train import train
from compress.stages.training_run import (
    finished_record,
    load_splits,
    open_run,
    pin_data,
    resumed,
    run_folder,
    schedule_of,
)
from compress.training.answers import Teaching
from compress.training.device import accelerator_name, pick_device
from compress.training.distributed import World, join
from compress.training.inputs import TrainingImages
from compress.training.results import Finished, write_predictions
from compress.training.session import check_batch, train_students
from compress.training.soft_labels import SoftLabels
from compress.training.teachers import Teacher


def check_plans(config: DistillConfig, plans: Sequence[StudentPlan]) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises:
        ConfigError: A model or loss is unknown, a loss does not go with mixed labels, or an
            ensemble has one member.
    """
    if config.ensemble:
        check_ensemble(plans)
    for plan in plans:
        models.resolve_options(
            plan.model.name, image_size=config.image_size or 32, options=plan.model.options
        )
        for term in plan.terms:
            losses.resolve_options(term)
            if config.augmentation.mixes and not losses.supports_mixed_labels(term.name):
                raise ConfigError(
                    f"loss {term.name} is not defined for mixed labels",
                    hint="use another loss, or a recipe without mixup and cutmix",
                )


def teacher_training(config: DistillConfig) -> TrainConfig:
    """How a missing teacher is trained: as the recipe says, on the same data and split."""
    training = config.teacher_training or TrainConfig()
    same = ("data", "data_dir", "image_size", "validation_fraction", "split_seed", "device")
    return training.model_copy(update={name: getattr(config, name) for name in same})


def _what(config: DistillConfig) -> str:
    """The students, as a run's id names them."""
    return "+".join(dict.fromkeys(str(spec.label or spec.model.name) for spec in config.student))


def distill(
    config: DistillConfig,
    *,
    progress: Progress = Silent(),  # noqa: B008 - it has no state
    flags: dict[str, Any] | None = None,
) -> DistillRecord:
    """Teach students, or take up or show the run that was asked for before.

    Args:
        config: Students, teacher and how.
        progress: Told of everything.
        flags: What the user gave, to compare with the run that `--resume` names.

    Returns:
        The run's record.

    Raises:
        CompressError: Bad input, a machine that lacks something, a loss that is not finite, or an
            interruption; each kind has its exit code.
    """
    config = resumed(taught_by.last_named(config, _what(config)), flags or {}, "distill")
    plans = plan_students(config)
    check_plans(config, plans)
    name, folder = run_folder(config, _what(config))
    done = finished_record(folder, config)
    if done is not None:
        taught_by.check_finished(folder, config)
        progress.note(f"{folder} is complete; --restart distils anew")
        return DistillRecord.read(done)
    world = join(config.device)
    progress = progress if world.main else Silent()
    device = pick_device(config.device)
    with (
        polite_stop(progress.note) as stop,
        opened(open_run(folder, name, config, "distill", world)) as run,
        ExitStack() as held,
    ):
        progress.note(f"run {folder} on {accelerator_name(device) or device}")
        splits = load_splits(config, progress)
        pin_data(run, splits, config)
        check_batch(config.batch_size, images=splits.train.count, world=world)
        stored, teacher = _teacher(run, config, splits, device, world, progress, stop, held)
        lessons = lessons_of(plans)
        schedule = schedule_of(config, group=config.group)
        if teacher is None and lessons.stored:
            views = schedule.all_views(splits)
            world.from_main(lambda: teaching.check_views(stored, views))
        progress.note(str(lessons))

        def source(images: TrainingImages) -> Teaching:
            return Teaching(stored, teacher, images, device=device, world=world, progress=progress)

        finished = train_students(
            run,
            splits,
            plans,
            schedule,
            source,
            device=device,
            world=world,
            progress=progress,
            stop=stop,
        )
        if not world.main:
            world.barrier()
            return DistillRecord.read(folder / RECORD)
        described = stored.description()
        validation, test = stored.read_evaluation()
        write_predictions(folder, TEACHER, splits, validation, test)
        rows = compare(plans, finished, test, splits.test.known_labels)
        record = DistillRecord(
            run=folder.name,
            data=splits.name,
            train_images=splits.train.count,
            val_images=splits.validation.count,
            test_images=splits.test.count,
            epochs=config.epochs,
            soft_labels=lessons.kind,
            teacher=teacher_row(
                described, test, splits.test.known_labels, teacher.seconds if teacher else 0.0
            ),
            students=rows,
            summary=summarize(rows, gains_by_image(plans, finished, splits.test.known_labels)),
            ensembles=average(finished, splits) if config.ensemble else (),
            seconds=run.seconds,
            environment=read_environment(accelerator=accelerator_name(device)),
        )
        write_text(folder / RECORD, record.to_json())
        run.finish("complete")
        world.barrier()
    return record


def _teacher(
    run: Run,
    config: DistillConfig,
    splits: Splits,
    device: torch.device,
    world: World,
    progress: Progress,
    stop: StopRequest,
    held: ExitStack,
) -> tuple[SoftLabels, Teacher | None]:
    """The stored answers to learn from, in use as long as `held`, and who computes missing ones."""
    folder = config.soft_labels or cache_folder() / "soft-labels"
    if config.soft_labels is not None and not config.teacher:

        def take() -> SoftLabels:
            stored = teaching.only_stored(folder, splits)
            held.enter_context(stored.in_use())
            digests = stored.description().weights_sha256
            taught_by.pin_members(run, taught_by.members_of_store(stored.key, digests))
            taught_by.pin_store(run, stored.key)
            return stored

        stored = world.from_main(take)
        progress.note(f"teacher: the stored soft labels {stored.key}, nothing else is needed")
        return stored, None

    def train_one(training: TrainConfig) -> Path:
        try:
            record = train(training, progress=progress)
        finally:
            run.renew()
        if world.agree(stop.requested):
            raise Interrupted(
                f"stopped after the teacher's training; {RUNS / record.run} is complete",
                hint="the same command goes on from there",
            )
        return RUNS / record.run

    taught_by.check_way(run.folder, run.manifest, config)
    if taught_by.named(run.manifest):
        members = teaching.unpinned(run.manifest.choices[TEACHER], splits)
    else:
        members = teaching.members_of(
            config.teacher,
            splits,
            training=teacher_training(config),
            train=train_one,
            progress=progress,
            besides=run.folder,
        )
        world.barrier()
        run.choose(TEACHER, lambda: teaching.pinned(members))
    taught_by.pin_members(
        run, [InputRecord(source=one.source, sha256=one.sha256) for one in members]
    )
    teacher, stored = teaching.make_teacher(
        members,
        splits,
        folder,
        limit_mib=config.soft_labels_limit_mib,
        batch_size=config.batch_size,
        amp=config.amp,
        cache=cache_folder(),
        choose=run.choose,
        device=device,
        world=world,
        progress=progress,
        held=held,
    )
    world.from_main(lambda: taught_by.pin_store(run, stored.key))
    return stored, teacher


def teacher_row(
    described: TeacherDescription,
    test: "np.ndarray[Any, np.dtype[np.float32]]",
    labels: "np.ndarray[Any, np.dtype[np.int64]]",
    seconds: float,
) -> TeacherRow:
    """The teacher's line of the table."""
    return TeacherRow(
        name=described.name,
        top1=described.top1,
        val_top1=described.val_top1,
        ece=float(evaluate.ece(test, labels)),
        parameters=described.parameters,
        macs=described.macs,
        foreign=described.foreign,
        seconds=seconds,
    )


def compare(
    plans: Sequence[StudentPlan],
    finished: Sequence[Finished],
    teacher: "np.ndarray[Any, np.dtype[np.float32]]",
    labels: "np.ndarray[Any, np.dtype[np.int64]]",
) -> tuple[StudentRow, ...]:
    """Set each student beside its control and the teacher, over the same test images.

    Args:
        plans: Which control belongs to whom.
        finished: One per plan.
        teacher: Its test logits, (images, classes).
        labels: (images,)
    """
    by_label = {one.row.label: one for one in finished}
    rows = []
    for plan, one in zip(plans, finished, strict=True):
        row = one.row.model_copy(update={"agreement": float(evaluate.agreement(one.test, teacher))})
        if plan.control is not None:
            control = by_label[plan.control]
            low, high = evaluate.paired_interval(
                one.test.argmax(axis=1) == labels, control.test.argmax(axis=1) == labels
            )
            row = row.model_copy(
                update={
                    "kd_gain": row.top1 - control.row.top1,
                    "kd_gain_low": low,
                    "kd_gain_high": high,
                }
            )
        rows.append(row)
    return tuple(rows)
