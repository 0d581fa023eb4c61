"""Where a run was begun is part of it: how many ranks, and on what kind of device."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.errors import ConfigError
from compress.runs import read_manifest
from compress.training.distributed import World
from compress.training.session import train_students
from compress.training.workplace import Workplace
from tests.notes import Notes
from tests.tiny_training import CPU, Given, Killed, digits, open_run, plan, schedule

HERE = Workplace(CPU, progress=Notes())


class Dying(Given):
    """A source with which the process dies in the first step."""

    def features(self, batch: Any) -> Any:
        """No features."""
        raise Killed


def train(folder: Path, place: Workplace, source: Given | None = None) -> None:
    run = open_run(folder / "run")
    try:
        train_students(
            run,
            digits(),
            [plan("a")],
            schedule(folder / "cache"),
            lambda _: source or Given(digits()),
            place=place,
        )
    finally:
        run.close()


@pytest.fixture(autouse=True)
def _begun(tmp_path: Path) -> None:
    """A run that was begun here, on one rank."""
    with pytest.raises(Killed):
        train(tmp_path, HERE, Dying(digits()))


def test_the_number_of_ranks_is_part_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "from_main", lambda _, decide: decide())
    with pytest.raises(ConfigError, match="was begun on 1 rank, this is 2 ranks") as caught:
        train(tmp_path, replace(HERE, world=World(rank=0, size=2)))
    assert "--nproc-per-node 1" in caught.value.hint


def test_the_kind_of_device_is_part_of_the_run(tmp_path: Path) -> None:
    """`--device auto` finds another one where a driver is gone, for instance."""
    with pytest.raises(ConfigError, match="was begun on cpu, this is cuda") as caught:
        train(tmp_path, replace(HERE, device=torch.device("cuda")))
    assert caught.value.hint == "go on where there is cpu, or begin anew with --restart"
    train(tmp_path, HERE)
    assert read_manifest(tmp_path / "run").choices["device"] == "cpu"
