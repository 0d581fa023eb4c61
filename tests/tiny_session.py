"""Sessions of tiny students: trained in a folder, killed on the way, and what they left."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from compress.cache import cache_folder
from compress.config.distill import StudentPlan
from compress.data.images import Splits
from compress.interrupts import StopRequest
from compress.training import state as checkpoints
from compress.training.distributed import World
from compress.training.results import Finished
from compress.training.session import train_students
from compress.training.workplace import Watch, Workplace, unwatched
from tests.notes import Notes
from tests.tiny_training import ALONE, CPU, Given, Killed, digits, open_run, plan, schedule

PLANS = (plan("a", terms=["kd"]), plan("b", seed=1, terms=["kd"]), plan("control"))


def train(
    folder: Path,
    plans: Sequence[StudentPlan] = PLANS,
    *,
    world: World = ALONE,
    stop: StopRequest | None = None,
    splits: Splits | None = None,
    notes: Notes | None = None,
    source: Given | None = None,
    watch: Watch = unwatched,
    **changes: Any,
) -> list[Finished]:
    """Train students on digits in the run directory `folder/run`, or go on there."""
    run = open_run(folder / "run")
    try:
        return train_students(
            run,
            splits or digits(),
            plans,
            schedule(cache_folder(), **changes),
            lambda _: source or Given(digits()),
            place=Workplace(
                CPU, world, progress=notes or Notes(), stop=stop or StopRequest(), watch=watch
            ),
        )
    finally:
        run.close()


def kill_at_save(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the process end right after the checkpoint of that number, from 1."""
    saved, save = [0], checkpoints.save

    def then_die(*arguments: Any) -> None:
        save(*arguments)
        saved[0] += 1
        if saved[0] == number:
            raise Killed

    monkeypatch.setattr(checkpoints, "save", then_die)


def weight_files(folder: Path) -> dict[str, bytes]:
    """The weights in the run of a folder."""
    students = (folder / "run" / "students").glob("*.safetensors")
    return {path.name: path.read_bytes() for path in students}


def rows(finished: list[Finished]) -> list[dict[str, Any]]:
    """What students became, but for the time it took."""
    return [one.row.model_dump(exclude={"seconds"}) for one in finished]
