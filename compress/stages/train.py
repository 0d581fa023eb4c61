"""`compress train`: one model on labels alone."""

from typing import Any

from compress.config.distill import StudentPlan
from compress.config.train import TrainConfig
from compress.data.images import Splits
from compress.interrupts import polite_stop
from compress.models import registry as models
from compress.progress import Progress, Silent
from compress.records.train import TrainRecord
from compress.runs import opened
from compress.stages.initial import begins_with
from compress.stages.last_run import last_named
from compress.stages.networks import check_networks
from compress.stages.summarize import summarize
from compress.stages.training_data import load_splits, normalised
from compress.stages.training_run import (
    completed,
    finished_record,
    open_run,
    pin_data,
    resumed,
    run_folder,
    schedule_of,
)
from compress.training.device import accelerator_name, pick_device
from compress.training.distributed import alone_on_failure, join
from compress.training.loop import Nobody
from compress.training.session import train_students
from compress.training.workplace import Watch, Workplace, unwatched


def plan_models(config: TrainConfig) -> tuple[StudentPlan, ...]:
    """One model per seed, each trained like a control: on labels alone."""
    seeds = config.all_seeds
    return tuple(
        StudentPlan(
            label=config.model.name + (f"-s{seed}" if len(seeds) > 1 else ""),
            model=config.model,
            seed=seed,
            role="control",
            optimization=config.optimization(config.model.name),
            ce_weight=1.0,
            terms=(),
        )
        for seed in seeds
    )


@alone_on_failure()
def train(
    config: TrainConfig,
    *,
    progress: Progress = Silent(),  # noqa: B008 - it has no state
    flags: dict[str, Any] | None = None,
    name: str | None = None,
    images: Splits | None = None,
    watch: Watch = unwatched,
) -> TrainRecord:
    """Train a model, or take up or show the run that was asked for before.

    Args:
        config: What to train and how.
        progress: Told of everything.
        flags: What the user gave, to compare with the run that `--resume` names.
        name: Id of the run, instead of the one that its options give it.
        images: Its data, where they are in memory already; whoever has them took them as the
            options say, and measured their mean and deviation if these are asked for.
        watch: Shown the learning curves while they grow.

    Returns:
        The run's record.

    Raises:
        CompressError: Bad input, a machine that lacks something, a loss that is not finite, or an
            interruption; each kind has its exit code.
    """
    config = resumed(last_named(config, config.model.name, "train"), flags or {}, "train")
    models.resolve_options(
        config.model.name, image_size=config.image_size or 32, options=config.model.options
    )
    own_name, folder = run_folder(config, config.model.name)
    done = finished_record(folder, config, progress)
    if done is not None:
        progress.note(f"{folder} is complete; --restart trains anew")
        return TrainRecord.read(done)
    world = join(config.device)
    progress = progress if world.main else Silent()
    device = pick_device(config.device)
    plans = plan_models(config)
    with (
        polite_stop(progress.note) as stop,
        opened(open_run(folder, name or own_name, config, "train", world)) as run,
    ):
        progress.note(f"run {folder} on {accelerator_name(device) or device}")
        splits = load_splits(config, progress) if images is None else normalised(images, config)
        pin_data(run, splits, config, world)
        begins = world.from_main(lambda: begins_with(run, config, plans, splits, progress))
        world.from_main(lambda: check_networks(run, splits, plans))
        finished = train_students(
            run,
            splits,
            plans,
            schedule_of(config),
            lambda _images: Nobody(),
            Workplace(device, world, progress, stop, watch),
            begins,
        )

        def conclude() -> TrainRecord:
            rows = tuple(one.row for one in finished)
            own = {"models": rows, "summary": summarize(rows)}
            return completed(run, TrainRecord, splits, plans, config, device, **own)

        return world.from_main(conclude)
