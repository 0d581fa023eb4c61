"""`compress distill`: students learn from a teacher, each beside its control."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from compress.config.distill import DistillConfig, StudentPlan, plan_students
from compress.errors import ConfigError
from compress.interrupts import polite_stop
from compress.losses import registry as losses
from compress.models import registry as models
from compress.progress import Progress, Silent
from compress.records.distill import DistillRecord
from compress.runs import opened
from compress.stages import taught_by
from compress.stages.distill_rows import compare, teacher_row
from compress.stages.distill_teacher import TeacherSearch, check_live
from compress.stages.ensembles import average, check_ensemble, with_averages
from compress.stages.initial import begins_with
from compress.stages.last_run import last_named
from compress.stages.lessons import late_ramps, lessons_of
from compress.stages.networks import check_networks, check_pairs
from compress.stages.summarize import gains_by_image, summarize
from compress.stages.taught_by import TEACHER
from compress.stages.training_data import load_splits, with_unlabelled
from compress.stages.training_run import (
    completed,
    finished_record,
    open_run,
    pin_data,
    resumed,
    run_folder,
    schedule_of,
)
from compress.training.answers import Teaching
from compress.training.device import accelerator_name, pick_device
from compress.training.distributed import alone_on_failure, join
from compress.training.inputs import TrainingImages
from compress.training.predictions import write_predictions
from compress.training.session import check_batch, train_students
from compress.training.workplace import Watch, Workplace, unwatched


def check_plans(config: DistillConfig, plans: Sequence[StudentPlan]) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises:
        ConfigError: A model or loss is unknown, a loss does not go with mixed labels or with the
            kind of teacher, a sweep changes nothing, an ensemble has one member, or nobody learns
            from unlabelled images.
    """
    if config.ensemble:
        check_ensemble(plans)
    for key in config.sweep:
        if not any(plan.optimization.looks_at(key) for plan in plans):
            kinds = ", ".join(sorted({plan.optimization.schedule for plan in plans}))
            raise ConfigError(f"--sweep {key} changes nothing with the schedule {kinds}")
    for plan in plans:
        models.resolve_options(
            plan.model.name, image_size=config.image_size or 32, options=plan.model.options
        )
        for term in plan.terms:
            losses.resolve_options(term)
            if losses.supports_mixed_labels(term.name):
                continue
            if config.augmentation.mixes:
                raise ConfigError(
                    f"loss {term.name} is not defined for mixed labels",
                    hint="use another loss, or a recipe without mixup and cutmix",
                )
            if config.unlabelled is not None:
                raise ConfigError(
                    f"loss {term.name} is not defined for unlabelled images",
                    hint="use another loss, or leave --unlabelled out",
                )
    if config.unlabelled is not None and not any(plan.terms for plan in plans):
        raise ConfigError(
            "--unlabelled has no use: no student learns from the teacher, all weight is on labels",
            hint="leave it out, or give alpha or a loss a weight",
        )
    if lessons_of(plans).live:
        check_live(config)


def _what(config: DistillConfig) -> str:
    """The students, as a run's id names them."""
    return "+".join(dict.fromkeys(str(spec.label or spec.model.name) for spec in config.student))


@alone_on_failure()
def distill(
    config: DistillConfig,
    *,
    progress: Progress = Silent(),  # noqa: B008 - it has no state
    flags: dict[str, Any] | None = None,
    watch: Watch = unwatched,
) -> DistillRecord:
    """Teach students, or take up or show the run that was asked for before.

    Args:
        config: Students, teacher and how.
        progress: Told of everything.
        flags: What the user gave, to compare with the run that `--resume` names.
        watch: Shown the learning curves while they grow, those of a teacher trained first, too.

    Returns:
        The run's record.

    Raises:
        CompressError: Bad input, a machine that lacks something, a loss that is not finite, or an
            interruption; each kind has its exit code.
    """
    config = resumed(last_named(config, _what(config), "distill"), flags or {}, "distill")
    plans = plan_students(config)
    check_plans(config, plans)
    name, folder = run_folder(config, _what(config))
    done = finished_record(folder, config, progress)
    if done is not None:
        taught_by.check_finished(folder, config)
        progress.note(f"{folder} is complete; --restart distils anew")
        record = DistillRecord.read(done)
        return with_averages(record, folder, progress) if config.ensemble else record
    world = join(config.device)
    progress = progress if world.main else Silent()
    device = pick_device(config.device)
    with (
        polite_stop(progress.note) as stop,
        opened(open_run(folder, name, config, "distill", world)) as run,
        ExitStack() as held,
    ):
        place = Workplace(device, world, progress, stop, watch)
        progress.note(f"run {folder} on {accelerator_name(device) or device}")
        for note in losses.weight_notes(term for plan in plans for term in plan.terms):
            progress.note(note)
        splits = with_unlabelled(load_splits(config, progress), config, progress)
        pin_data(run, splits, config, world)
        check_batch(config.batch_size, images=splits.swept, world=world)
        begins = world.from_main(lambda: begins_with(run, config, plans, splits, progress))
        world.from_main(lambda: check_networks(run, splits, plans))
        lessons = lessons_of(plans)
        schedule = schedule_of(config, group=config.group)
        stored, teacher = TeacherSearch(
            run,
            config,
            splits,
            views=schedule.all_views(splits) if lessons.stored else (),
            live=bool(lessons.live),
            place=place,
            held=held,
        ).find()
        if lessons.live and teacher is not None:
            world.from_main(lambda: check_pairs(run, splits, plans, teacher.live(folded=False)[0]))
        progress.note(str(lessons))
        if late := late_ramps(plans, config.epochs):
            progress.note(late)

        taught: list[Teaching] = []

        def source(images: TrainingImages) -> Teaching:
            taught.append(Teaching(stored, teacher, images, place))
            return taught[0]

        finished = train_students(run, splits, plans, schedule, source, place, begins)

        def conclude() -> DistillRecord:
            described, (validation, test) = stored.description(), stored.read_evaluation()
            write_predictions(folder, TEACHER, splits, validation, test)
            labels = splits.test.known_labels
            rows = compare(plans, finished, test, labels)
            return completed(
                run,
                DistillRecord,
                splits,
                plans,
                config,
                device,
                unlabelled_images=splits.unlabelled_count,
                soft_labels=lessons.kind,
                teacher=teacher_row(
                    described,
                    test,
                    labels,
                    foreign=taught_by.from_outside(run.manifest, described),
                    seconds=taught[0].seconds,
                    train_top1=taught_by.train_top1(folder, run.manifest),
                ),
                students=rows,
                summary=summarize(rows, gains_by_image(plans, finished, labels)),
                ensembles=average(finished, labels) if config.ensemble else (),
            )

        return world.from_main(conclude)
