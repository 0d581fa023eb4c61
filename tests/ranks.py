"""Trains as one process and as two that talk over gloo: `python -m tests.ranks FOLDER PORT PORT`.

The processes are forked from one that has imported everything and computed nothing. Each leaves
what it saw in FOLDER as `<size>-<rank>.pt`.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from compress.config.distill import distill_config
from compress.errors import CompressError, InputError
from compress.runs import Run, read_epochs
from compress.stages.distill import distill
from compress.stages.training_run import open_run, pin_data
from compress.training.answers import Teaching
from compress.training.distributed import World, join
from compress.training.inputs import Batch, TrainingImages
from compress.training.session import train_students
from compress.training.soft_labels import SoftLabels
from compress.training.teachers import Teacher
from compress.training.workplace import Workplace
from tests import tiny_training as tiny
from tests.notes import Notes


def loop(world: World) -> dict[str, Any]:
    """A student and its control without BatchNorm and dropout: what ranks must not change."""
    learners = [
        tiny.learner(
            label,
            model=tiny.network(batchnorm=False, dropout=0.0),
            goal=goal,
            world=world,
        )
        for label, goal in (
            ("a", tiny.objective("kd", ce_weight=0.5)),
            ("control", tiny.objective()),
        )
    ]
    position = tiny.run(learners, world=world)
    return {
        "weights": [learner.weights() for learner in learners],
        "losses": [(record.loss, record.train_top1) for record in position.log],
    }


def labels(world: World, folder: Path, teacher: Teacher) -> torch.Tensor:
    """The answers to a view that the ranks compute together."""
    source = Teaching(
        SoftLabels(folder / f"store-{world.size}" / "t", limit_bytes=10**9),
        teacher,
        TrainingImages(tiny.digits().train, device=tiny.CPU),
        place=Workplace(tiny.CPU, world=world, progress=Notes()),
    )
    found = source.labels(tiny.schedule(folder).view(tiny.digits(), 0))
    if found is None:
        raise ValueError("a teacher answers")
    return found


def lonely(world: World, folder: Path, teacher: Teacher) -> dict[str, Any]:
    """The same with a file system that only rank 0 shares, a damaged file, and then no teacher."""
    place = folder / f"store-{world.size}" if world.main else folder / f"nowhere-{world.rank}"
    view = tiny.schedule(folder).view(tiny.digits(), 0)
    notes = Notes()

    def source(asked: Teacher | None) -> Teaching:
        return Teaching(
            SoftLabels(place / "t", limit_bytes=10**9),
            asked,
            TrainingImages(tiny.digits().train, device=tiny.CPU),
            place=Workplace(tiny.CPU, world=world, progress=notes),
        )

    seen: dict[str, Any] = {"read": source(None).labels(view)}
    if world.main:
        path = source(None).stored.view_path(view.digest)
        path.write_bytes(path.read_bytes()[:-2])
    seen["rebuilt"] = source(teacher).labels(view)
    seen["notes"] = notes.text
    try:
        source(None).labels(tiny.schedule(folder).view(tiny.digits(), 7))
    except InputError as error:
        seen["missing"] = error.message
    return seen


def session(world: World, place: Path, source: tiny.Given | None = None) -> list[str]:
    """A run directory shared by the ranks; the labels of what was finished, on rank 0.

    One of its three students diverges on the way.
    """
    if world.main:
        run = tiny.open_run(place)
    world.barrier()
    if not world.main:
        run = Run.follow(place)
    too_fast = tiny.PLAIN.model_copy(update={"learning_rate": 1e30})
    plans = [
        tiny.plan("a", terms=["kd"]),
        tiny.plan("wild", terms=["kd"], optimization=too_fast),
        tiny.plan("control"),
    ]
    try:
        finished = train_students(
            run,
            tiny.digits(),
            plans,
            tiny.schedule(place.parent / f"cache-{world.size}", checkpoint_every=2),
            lambda _: source or tiny.Given(tiny.digits()),
            place=Workplace(tiny.CPU, world=world, progress=Notes()),
        )
    finally:
        run.close()
    return [one.row.label for one in finished]


class Dying(tiny.Given):
    """A source with which every rank dies in the third of an epoch's four steps."""

    def __init__(self) -> None:
        super().__init__(tiny.digits())
        self._left = 3

    def features(self, batch: Batch) -> Mapping[str, torch.Tensor]:
        """No features."""
        self._left -= 1
        if not self._left:
            raise tiny.Killed
        return super().features(batch)


def taken_up(world: World, folder: Path) -> list[list[dict[str, Any]]]:
    """What is logged by `session`'s run and by one that died in its first epoch; on rank 0."""
    whole, broken = folder / f"run-{world.size}", folder / f"broken-{world.size}"
    with suppress(tiny.Killed):
        session(world, broken, Dying())
    world.barrier()
    session(world, broken)
    times = {"seconds", "images_per_second"}
    return [
        [record.model_dump(exclude=times) for record in read_epochs(place)]
        for place in (whole, broken)
        if world.main
    ]


def stage(world: World, folder: Path) -> dict[str, Any]:
    """The whole stage, as torchrun would start it."""
    os.environ["COMPRESS_CACHE"] = str(folder / f"stage-cache-{world.size}")
    teacher = folder / "teacher.safetensors"
    config = distill_config(
        {
            "image_size": 8,
            "teacher": [str(teacher)],
            "student": ["small_cnn:width=0.25"],
            "epochs": 1,
            "batch_size": 128,
            "run_dir": folder / f"stage-{world.size}",
            "amp": "off",
            "device": "cpu",
        }
    )
    record = distill(config)
    return {"labels": [row.label for row in record.students], "top1": record.teacher.top1}


def failed(world: World, error: Exception) -> tuple[str, str, bool]:
    """What a rank meets where rank 0 alone fails: type, message, and whether it is told there."""

    def fail() -> NoReturn:
        raise error

    try:
        world.from_main(fail)
    except Exception as met:  # noqa: BLE001 - it is what is looked at
        return type(met).__name__, str(met), getattr(met, "told", False)
    raise AssertionError("nobody failed")


class Failing(Teacher):
    """A teacher whose answers to a view fail on one rank."""

    def fail_on(self, rank: int) -> "Failing":
        """Say on which."""
        self._failing = self._world.rank == rank
        return self

    def _average(self, *arguments: Any, **named: Any) -> Any:
        if self._failing:
            raise InputError("no answer")
        return super()._average(*arguments, **named)


def no_answer(world: World, folder: Path, teacher: Teacher, rank: int) -> tuple[str, str, bool]:
    """What a rank meets where one alone cannot answer its share of a view."""
    failing = Failing(
        teacher.members, tiny.digits(), device=tiny.CPU, batch_size=64, world=world
    ).fail_on(rank)
    try:
        labels(world, folder / f"no-answer-{rank}", failing)
    except CompressError as met:
        return type(met).__name__, met.message, met.told
    raise AssertionError("nobody failed")


def other_images(world: World, folder: Path) -> str:
    """What a rank is told that has other images than rank 0."""
    config = distill_config({"data": "digits"})
    place = folder / f"images-{world.size}"
    splits = tiny.digits()
    if not world.main:
        splits = replace(splits, test=splits.validation)
    run = open_run(place, "images", config, "distill", world)
    try:
        pin_data(run, splits, config, world)
    except InputError as error:
        return error.message
    finally:
        run.close()
    return ""


def refuse_to_write(*_: Any, **__: Any) -> NoReturn:
    """Stands in for making a file on every rank but the first."""
    raise AssertionError("this rank must not write")


def one_rank(rank: int, size: int, folder: Path, port: str) -> None:
    """Everything one process does."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    world = join("cpu")
    seen: dict[str, Any] = {"world": (world.rank, world.size)}
    teacher = tiny.teacher(folder / f"teachers-{world.size}-{world.rank}", world=world)
    make_file = tempfile.mkstemp
    if not world.main:
        tempfile.mkstemp = refuse_to_write
    seen["labels"] = labels(world, folder, teacher)
    seen["lonely"] = lonely(world, folder, teacher)
    seen["loop"] = loop(world)
    seen["session"] = session(world, folder / f"run-{world.size}")
    seen["taken up"] = taken_up(world, folder)
    seen["stage"] = stage(world, folder)
    tempfile.mkstemp = make_file
    seen["agree"] = [world.agree(world.rank == 1), world.agree(False)]
    seen["from main"] = world.from_main(lambda: f"rank {world.rank} decides")
    seen["no answer"] = [no_answer(world, folder, teacher, rank) for rank in range(size)]
    seen["failed"] = [failed(world, error) for error in (InputError("no room"), OSError("full"))]
    seen["other images"] = other_images(world, folder)
    seen["sum"] = world.sum(torch.tensor([1.0, float(world.rank)])).tolist()
    torch.save(seen, folder / f"{size}-{rank}.pt")


def main() -> int:
    """Run one process, then two at a time; the number of those that failed."""
    folder, failed = Path(sys.argv[1]), 0
    for size, port in ((1, sys.argv[2]), (2, sys.argv[3])):
        children = []
        for rank in range(size):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    one_rank(rank, size, folder, port)
                    code = 0
                except BaseException:  # noqa: BLE001 - told, then counted
                    sys.excepthook(*sys.exc_info())
                finally:
                    sys.stderr.flush()
                    os._exit(code)
            children.append(child)
        for child in children:
            failed += os.waitpid(child, 0)[1] != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
