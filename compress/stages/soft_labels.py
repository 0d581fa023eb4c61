"""`compress soft-labels`: a teacher's answers, computed ahead of time."""

from contextlib import ExitStack
from dataclasses import replace
from typing import NoReturn

from compress.cache import cache_folder
from compress.config.soft_labels import SoftLabelsConfig
from compress.config.train import TrainConfig
from compress.data import registry as data
from compress.data.images import Splits
from compress.data.views import View
from compress.errors import ConfigError, Interrupted
from compress.interrupts import polite_stop
from compress.progress import Progress, Silent
from compress.records.soft_labels import SoftLabelsRecord
from compress.stages import teaching
from compress.stages.training_data import load_data, with_unlabelled
from compress.training.answers import Teaching
from compress.training.device import pick_device
from compress.training.distributed import alone_on_failure, join
from compress.training.inputs import TrainingImages
from compress.training.members import Member
from compress.training.schedule import training_view
from compress.training.soft_labels import SoftLabels, list_sets
from compress.training.teachers import Teacher
from compress.training.workplace import Workplace


@alone_on_failure()
def soft_labels(
    config: SoftLabelsConfig,
    *,
    progress: Progress = Silent(),  # noqa: B008 - it has no state
) -> SoftLabelsRecord:
    """Fill views with a teacher's answers, for students trained later or elsewhere.

    Args:
        config: Teacher, data and views.
        progress: Told of every view.

    Returns:
        What the folder holds now.

    Raises:
        ConfigError: No teacher.
        InputError: The teacher or the data is missing or unfit.
        Interrupted: Asked to stop; finished views are kept.
    """
    if config.unlabelled is not None:
        data.check(config.unlabelled, "--unlabelled")
    world = join(config.device)
    progress = progress if world.main else Silent()
    place = Workplace(pick_device(config.device), world, progress)
    splits = with_unlabelled(load_data(config, progress), config, progress)
    members = _members(config, splits, progress)
    folder = config.soft_labels or cache_folder() / "soft-labels"
    with ExitStack() as held:
        teacher, stored = teaching.make_teacher(
            members,
            splits,
            folder,
            place,
            views=[_view(config, splits, number) for number in range(config.views)],
            limit_mib=config.soft_labels_limit_mib,
            batch_size=config.batch_size,
            amp=config.amp,
            cache=cache_folder(),
            choose=lambda _name, decide: decide(),
            held=held,
        )
        filled = _fill(config, splits, stored, teacher, place)
    return SoftLabelsRecord(
        folder=str(folder),
        filled=filled,
        found=config.views - filled,
        seconds=teacher.seconds,
        sets=tuple(list_sets(folder)),
    )


def _members(config: SoftLabelsConfig, splits: Splits, progress: Progress) -> list[Member]:
    """The teacher's networks; none is trained here.

    Raises:
        ConfigError: There is no run to take them from.
    """

    def refuse(wanted: TrainConfig) -> NoReturn:
        raise ConfigError(
            f"no complete run of {wanted.model} on {splits.name}",
            hint="train it with `compress train`, or name another with --teacher",
        )

    return teaching.members_of(
        config.teacher,
        splits,
        training=config.teacher_training,
        train=refuse,
        progress=progress,
    )


def _view(config: SoftLabelsConfig, splits: Splits, number: int) -> View:
    return training_view(splits, config.augmentation, seed=config.view_seed, number=number)


def _fill(
    config: SoftLabelsConfig,
    splits: Splits,
    stored: SoftLabels,
    teacher: Teacher,
    place: Workplace,
) -> int:
    """Fill the views that are missing or damaged, and count them.

    Raises:
        Interrupted: Any rank was asked to stop before the last view.
    """
    filled = 0
    images = TrainingImages(
        splits.train, splits.unlabelled, device=place.device, workers=config.workers
    )
    with polite_stop(place.progress.note, unit="view") as stop:
        source = Teaching(stored, teacher, images, replace(place, stop=stop), views=config.views)
        for number in range(config.views):
            # a view of this turn alone: with its parameters it is larger than its answers
            filled += source.fill(_view(config, splits, number))
            stopping = place.world.agree(stop.requested)
            if stopping and number + 1 < config.views:
                raise Interrupted(
                    f"stopped after view {number + 1} of {config.views}, which is stored",
                    hint="the same command goes on from there",
                )
    return filled
