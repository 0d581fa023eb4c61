"""Processes that are really killed, at random moments, and go on as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compress.runs import read_manifest
from tests.conftest import ROOT
from tests.fork_server import Starter, fork_server
from tests.tiny_stages import files
from tests.tiny_training import trained_teacher_file

KILLS = 20
KILLS_OF_ONE_RUN = 10
OPTIONS = (
    *("distill", "--data", "digits", "--image-size", "8", "--teacher", "teacher.safetensors"),
    *("--student", "small_cnn:width=0.25,dropout=0.3", "--epochs", "3", "--batch-size", "64"),
    *("--optimizer", "sgd", "--learning-rate", "0.1", "--ema-decay", "0.9", "--device", "cpu"),
    *("--checkpoint-every", "3", "--quiet"),
)


@dataclass(frozen=True)
class Place:
    """Where runs are made, and how.

    Attributes:
        folder: Holds the teacher and the runs.
        start: Starts `compress` there.
        seconds: How long an undisturbed run takes.
    """

    folder: Path
    start: Starter
    seconds: float


def arguments(run: str) -> list[str]:
    """A run with soft labels of its own, so that filling them is disturbed as well."""
    return [*OPTIONS, "--run-dir", run, "--soft-labels", f"{run}-labels"]


def environment(folder: Path) -> dict[str, str]:
    return {"COMPRESS_CACHE": str(folder / "cache")}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A folder with one undisturbed run, called whole."""
    folder = tmp_path_factory.mktemp("killed")
    trained_teacher_file(folder / "teacher.safetensors")
    with fork_server(folder, environment(folder)) as start:
        start("--version")  # returns when everything is imported
        begin = time.monotonic()
        ended = start(*arguments("whole"))
        assert ended.code == 0, ended.output
        yield Place(folder, start, time.monotonic() - begin)


def record(run: Path) -> dict[str, Any]:
    """The record without times and the run's own name."""
    found = json.loads((run / "record.json").read_text())
    for row in (found, found["teacher"], *found["students"]):
        row.pop("seconds")
    found.pop("run")
    return found


def epochs(run: Path) -> list[dict[str, Any]]:
    """The epoch log without times."""
    times = {"seconds", "images_per_second"}
    lines = (run / "epochs.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in times} for line in lines]


def assert_equal_runs(one: Path, other: Path) -> None:
    """Weights, predictions and stored answers bit for bit; records in all but times."""
    assert files(one) == files(other)
    assert files(one, "predictions/*") == files(other, "predictions/*")
    labels = [files(run.parent / f"{run.name}-labels", "*/views/*") for run in (one, other)]
    assert labels[0] == labels[1]
    assert len(labels[0]) == 3
    assert record(one) == record(other)
    assert epochs(one) == epochs(other)
    artifacts = [read_manifest(run).artifacts for run in (one, other)]
    assert artifacts[0].keys() == artifacts[1].keys()
    assert read_manifest(other).status == "complete"
    assert not list(other.rglob("*.part"))


def test_killed_at_random_moments_a_run_ends_bit_for_bit_the_same(place: Place) -> None:
    moments = random.Random(4)
    kills = runs = 0
    while kills < KILLS:
        run, own = f"killed-{runs}", 0
        while own < KILLS_OF_ONE_RUN:
            after = moments.uniform(0.05, 0.7) * place.seconds
            ended = place.start(*arguments(run), signal=signal.SIGKILL, after=after)
            if ended.code == 0:
                break
            assert ended.code == -signal.SIGKILL, ended.output
            own += 1
        ended = place.start(*arguments(run))
        assert ended.code == 0, ended.output
        assert_equal_runs(place.folder / "whole", place.folder / run)
        kills, runs = kills + own, runs + 1
    assert runs >= 2


def test_ctrl_c_saves_the_epoch_exits_with_130_and_the_same_command_goes_on(place: Place) -> None:
    ended = place.start(*arguments("stopped"), signal=signal.SIGINT, when="stopped/last.pt")
    assert ended.code == 130, ended.output
    assert "is saved" in ended.output
    assert "the same command goes on from there" in ended.output
    assert read_manifest(place.folder / "stopped").status == "interrupted"
    assert 1 <= len(epochs(place.folder / "stopped")) // 2 < 3
    assert place.start(*arguments("stopped")).code == 0
    assert_equal_runs(place.folder / "whole", place.folder / "stopped")


def test_another_process_takes_up_what_a_killed_one_left(place: Place) -> None:
    """Nothing that the next one needs is in memory, or in the server it was forked from."""
    killed = place.start(*arguments("left"), signal=signal.SIGKILL, when="left/last.pt")
    assert killed.code == -signal.SIGKILL
    ended = subprocess.run(
        [sys.executable, "-m", "compress", *arguments("left")],
        cwd=place.folder,
        env={
            **os.environ,
            **environment(place.folder),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert_equal_runs(place.folder / "whole", place.folder / "left")
