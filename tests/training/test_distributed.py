"""Several processes as one training, over gloo on one machine."""

import atexit
import os
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from compress.errors import MachineError
from compress.stages import distill, soft_labels, train
from compress.training.distributed import World, alone_on_failure, join
from tests.conftest import ROOT
from tests.tiny_training import trained_teacher_file

Seen = dict[tuple[int, int], dict[str, Any]]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What each process saw, by (how many there were, rank)."""
    folder = tmp_path_factory.mktemp("ranks")
    trained_teacher_file(folder / "teacher.safetensors")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.ranks", folder, free_port(), free_port()],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return {
        (size, rank): {
            **torch.load(folder / f"{size}-{rank}.pt", weights_only=False),
            "folder": folder,
        }
        for size, rank in ((1, 0), (2, 0), (2, 1))
    }


@pytest.mark.parametrize("student", [0, 1], ids=["student", "control"])
def test_two_ranks_end_as_one_up_to_the_order_of_sums(seen: Seen, student: int) -> None:
    one, two = (seen[key]["loop"]["weights"][student] for key in ((1, 0), (2, 0)))
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=1e-4, atol=1e-6), name


def test_ranks_stay_equal_bit_for_bit(seen: Seen) -> None:
    for one, other in zip(
        seen[2, 0]["loop"]["weights"], seen[2, 1]["loop"]["weights"], strict=True
    ):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_figures_are_over_all_ranks(seen: Seen) -> None:
    one, two = (np.array(seen[key]["loop"]["losses"]) for key in ((1, 0), (2, 0)))
    assert np.allclose(one, two, atol=1e-5)


def test_ranks_answer_a_view_together_and_train_on_one_stored_array(seen: Seen) -> None:
    assert torch.equal(seen[2, 0]["labels"], seen[2, 1]["labels"])
    assert torch.allclose(seen[2, 0]["labels"].float(), seen[1, 0]["labels"].float(), atol=2e-3)


def test_stored_values_reach_ranks_that_cannot_read_them(seen: Seen) -> None:
    for rank in (0, 1):
        for how in ("read", "rebuilt"):
            assert torch.equal(seen[2, rank]["lonely"][how], seen[2, 0]["labels"])


def test_the_first_rank_names_a_damaged_file_that_all_rebuild(seen: Seen) -> None:
    assert "is damaged" in seen[2, 0]["lonely"]["notes"]
    assert "computing it again" in seen[2, 0]["lonely"]["notes"]
    assert seen[2, 1]["lonely"]["notes"] == ""


def test_a_view_nobody_can_answer_is_an_input_error_on_every_rank(seen: Seen) -> None:
    messages = {seen[2, rank]["lonely"]["missing"] for rank in (0, 1)}
    assert len(messages) == 1
    assert "is missing: the teacher's answers to a view" in messages.pop()


def test_only_the_first_rank_writes_and_reports(seen: Seen) -> None:
    """The others would have failed at making a file."""
    assert seen[2, 0]["session"] == ["a", "control"]
    assert seen[2, 1]["session"] == []
    names = [
        sorted(
            path.relative_to(seen[2, 0]["folder"] / f"run-{size}").as_posix()
            for path in (seen[2, 0]["folder"] / f"run-{size}").rglob("*")
        )
        for size in (1, 2)
    ]
    assert names[0] == names[1]
    assert "diverged/wild.json" in names[0]


@pytest.mark.parametrize("size", [1, 2])
def test_a_run_taken_up_in_mid_epoch_logs_what_one_that_was_not_does(seen: Seen, size: int) -> None:
    whole, broken = seen[size, 0]["taken up"]
    assert [record["epoch"] for record in whole] == [1, 1, 2, 2]
    assert broken == whole


def test_the_whole_stage_runs_on_two_ranks(seen: Seen) -> None:
    assert seen[2, 0]["stage"] == seen[2, 1]["stage"] == seen[1, 0]["stage"]
    assert seen[2, 0]["stage"]["labels"] == ["small_cnn", "small_cnn-control"]


def test_what_fails_on_the_first_rank_alone_ends_all_and_is_told_once(seen: Seen) -> None:
    own = [("InputError", "no room", False), ("OSError", "full", False)]
    assert seen[1, 0]["failed"] == seen[2, 0]["failed"] == own
    elsewhere = ("MachineError", "rank 0 failed, and says why itself", True)
    assert seen[2, 1]["failed"] == [("InputError", "no room", True), elsewhere]


def test_an_answer_that_one_rank_cannot_give_ends_all_and_is_told_once(seen: Seen) -> None:
    own = ("InputError", "no answer", False)
    elsewhere = ("MachineError", "another rank failed, and says why itself", True)
    assert seen[1, 0]["no answer"] == [own]
    assert seen[2, 0]["no answer"] == [own, elsewhere]
    assert seen[2, 1]["no answer"] == [elsewhere, own]


def test_ranks_with_other_images_are_refused(seen: Seen) -> None:
    assert seen[1, 0]["other images"] == ""
    for rank in (0, 1):
        assert "not every rank has the same images" in seen[2, rank]["other images"]


def test_ranks_agree_decide_and_sum(seen: Seen) -> None:
    assert seen[1, 0]["agree"] == [False, False]
    for rank in (0, 1):
        assert seen[2, rank]["world"] == (rank, 2)
        assert seen[2, rank]["agree"] == [True, False]
        assert seen[2, rank]["from main"] == "rank 0 decides"
        assert seen[2, rank]["sum"] == [2.0, 1.0]


@pytest.mark.parametrize(("count", "size"), [(32, 2), (7, 3), (2, 3)])
def test_shares_cover_everything_once(count: int, size: int) -> None:
    parts = [list(range(count))[World(rank, size).share(count)] for rank in range(size)]
    assert [item for part in parts for item in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_alone_nothing_is_waited_for() -> None:
    world = join("cpu")
    assert world == World()
    layer = nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    world.barrier()
    world.average_gradients(layer.parameters())
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[1.0, 1.0]]
    assert world.from_main(lambda: 5) == 5
    rows = np.ones((2, 3), dtype=np.float32)
    assert world.gather_rows(rows) is rows


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_more_ranks_than_gpus_are_a_machine_error_on_every_rank(
    monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", 3)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(MachineError, match="3 ranks on a machine with 2 CUDA devices") as caught:
        join("auto")
    assert caught.value.exit_code == 4
    assert "--nproc-per-node 2" in caught.value.hint
    assert "--device cpu" in caught.value.hint


def test_a_rank_whose_gpu_cannot_be_used_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(_: int) -> None:
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy")

    for name, value in (("RANK", 1), ("LOCAL_RANK", 1), ("WORLD_SIZE", 2), ("LOCAL_WORLD_SIZE", 2)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken)
    with pytest.raises(MachineError, match=r"CUDA device 1 cannot be used: .* are busy"):
        join("auto")


@pytest.fixture
def farewells(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is left out at the end of this process."""
    left_out: list[Any] = []
    monkeypatch.setattr(atexit, "unregister", left_out.append)
    return left_out


@pytest.mark.parametrize(
    ("backend", "left_out"), [("nccl", [dist.destroy_process_group]), ("gloo", []), (None, [])]
)
def test_a_rank_that_fails_over_nccl_takes_no_leave_of_the_others(
    monkeypatch: pytest.MonkeyPatch, farewells: list[Any], backend: str | None, left_out: list[Any]
) -> None:
    """The farewell over NCCL waits for every rank; gloo's waits for nobody."""
    monkeypatch.setattr(dist, "is_initialized", lambda: backend is not None)
    monkeypatch.setattr(dist, "get_backend", lambda: backend)
    with alone_on_failure():
        pass
    assert farewells == []
    with pytest.raises(MachineError, match="no room"), alone_on_failure():
        raise MachineError("no room")
    assert farewells == left_out


@pytest.mark.parametrize("stage", [train.train, distill.distill, soft_labels.soft_labels])
def test_every_stage_that_ranks_share_can_fail_alone(
    monkeypatch: pytest.MonkeyPatch, farewells: list[Any], stage: Any
) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend", lambda: "nccl")
    with pytest.raises(AttributeError):
        stage(None)  # nothing to do
    assert farewells == [dist.destroy_process_group]
