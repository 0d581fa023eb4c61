"""`compress distill` on two ranks, as PyTorch's launcher starts it: stopped, taken up, finished."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from compress.records.distill import DistillRecord
from compress.runs import checked_file, read_epochs, read_manifest
from tests.conftest import ROOT, Finished, call_program
from tests.tiny_training import trained_teacher_file

EPOCHS = 5
OPTIONS = (
    *("distill", "--data", "digits", "--image-size", "8", "--teacher", "teacher.safetensors"),
    *("--student", "small_cnn:width=0.25", "--no-control", "--epochs", EPOCHS),
    *("--batch-size", "128", "--device", "cpu", "--amp", "off"),
    *(("--tensorboard",) if find_spec("tensorboard") else ()),
)


def options(run: str) -> list[str]:
    return [*map(str, OPTIONS), "--run-dir", run, "--soft-labels", f"{run}-labels"]


def launched(folder: Path, *more: str, stop_at: Path | None = None) -> Finished:
    """The command under torchrun, told to stop when a file is there."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("-m", "compress", *options("two"), *more),
        ],
        cwd=folder,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "COMPRESS_CACHE": str(folder / "cache"),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
            "NO_COLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while stop_at is not None and process.poll() is None and not stop_at.exists():
            time.sleep(0.01)
        if stop_at is not None:
            process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=240)
    finally:
        process.kill()
    return Finished(process.returncode, stdout, stderr)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a teacher, and one process's run called one."""
    folder = tmp_path_factory.mktemp("torchrun")
    trained_teacher_file(folder / "teacher.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COMPRESS_CACHE", str(folder / "cache"))
        ended = call_program(*options("one"))
        assert ended.code == 0, ended.stderr
        yield folder


@pytest.fixture(scope="module")
def stopped(place: Path) -> Finished:
    return launched(place, stop_at=place / "two" / "last.pt")


@pytest.fixture(scope="module")
def status(stopped: Finished, place: Path) -> str:
    """What the manifest says before the run is taken up."""
    return read_manifest(place / "two").status


@pytest.fixture(scope="module")
def ended(status: str, place: Path) -> Finished:
    return launched(place)


def test_a_signal_to_the_launcher_saves_the_epoch_and_is_told_once(
    stopped: Finished, status: str
) -> None:
    assert stopped.code != 0
    assert status == "interrupted"
    assert stopped.stdout == ""
    assert stopped.stderr.count("which is saved") == 1


def test_the_same_command_goes_on_and_ends_with_one_table(ended: Finished) -> None:
    assert ended.code == 0, ended.stderr
    assert ended.stderr.count("resuming after epoch") == 1
    assert ended.stderr.count(f"epoch {EPOCHS}/{EPOCHS} ") == 1
    assert ended.stderr.count("next: compress export two") == 1
    assert ended.stdout.count("Top-1 in per cent of the test images") == 1


def test_one_run_directory_is_complete_and_holds_what_one_process_leaves(
    ended: Finished, place: Path
) -> None:
    manifest = read_manifest(place / "two")
    assert (manifest.status, manifest.choices["ranks"]) == ("complete", 2)
    for name in manifest.artifacts:
        checked_file(place / "two", manifest, name)
    one, two = (
        sorted(path.relative_to(place / run) for path in (place / run).rglob("*"))
        for run in ("one", "two")
    )
    assert two == one
    assert [path.name for path in place.glob("two*")] == ["two", "two-labels"]
    assert [record.epoch for record in read_epochs(place / "two")] == list(range(1, EPOCHS + 1))


def test_tensorboard_shows_every_epoch_once(ended: Finished, place: Path) -> None:
    """Two ranks, and two processes of the first, one after the other."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    files = accumulators.EventAccumulator(str(place / "two" / "tensorboard" / "small_cnn"))
    files.Reload()
    steps = [event.step for event in files.Scalars("loss/training")]
    assert steps == list(range(1, EPOCHS + 1))


def test_soft_labels_are_one_copy_that_equals_one_process_s_but_for_rounding(
    ended: Finished, place: Path
) -> None:
    one, two = (
        {path.name: path for path in (place / f"{run}-labels").glob("*/views/*")}
        for run in ("one", "two")
    )
    assert len(one) == EPOCHS
    assert two.keys() == one.keys()
    for name, path in one.items():
        mine, other = (load_file(each)["logits"] for each in (path, two[name]))
        assert np.allclose(mine.astype(np.float32), other.astype(np.float32), atol=2e-3)


def test_two_ranks_learn_what_one_process_learns(ended: Finished, place: Path) -> None:
    """Not to the bit: each rank's BatchNorm sees its own half of a batch."""
    one, two = (
        np.array([record.loss for record in read_epochs(place / run)]) for run in ("one", "two")
    )
    assert np.allclose(one, two, rtol=0.1)
    assert not np.array_equal(one, two)
    rows = [DistillRecord.read(place / run / "record.json").students[0] for run in ("one", "two")]
    assert abs(rows[0].top1 - rows[1].top1) < 0.1


@pytest.mark.parametrize("rank", [0, 1])
def test_called_again_every_rank_ends_at_once_and_the_first_shows_the_table(
    ended: Finished, place: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    def written() -> dict[str, int]:
        """When each file was last written, but for plots, which are drawn again."""
        files = (path for path in (place / "two").rglob("*.*") if path.suffix != ".png")
        return {path.name: path.stat().st_mtime_ns for path in files}

    before = written()
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "2")
    again = call_program(*options("two"))
    assert again.code == 0
    assert again.stdout.count("Top-1 in per cent of the test images") == 1 - rank
    assert ("two is complete" in again.stderr) == (rank == 0)
    assert written() == before


def test_a_wrong_option_is_told_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rank has the same command line."""
    told = []
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        again = call_program("distill", "--student", "small_cmm")
        assert again.code == 2
        told.append(again.stderr.count("small_cmm"))
    assert told == [1, 0]


def test_what_the_first_rank_alone_refuses_is_told_once_and_ends_all(
    ended: Finished, place: Path
) -> None:
    """Rank 0 alone opens the run directory; the other waits for it."""
    assert ended.code == 0
    refused = launched(place, "--alpha", "0.4")
    assert refused.code != 0
    assert refused.stderr.count("error: ") == refused.stderr.count("was begun with") == 1
    assert "a bug in compress" not in refused.stderr
