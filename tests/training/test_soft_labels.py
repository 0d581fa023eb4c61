"""Stored soft labels: exact, verified, shared, bounded."""

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import pytest

from compress.errors import InputError, Interrupted
from compress.locks import alone
from compress.training.soft_labels import SoftLabels, list_sets, make_room, relative
from tests.fake_run import described

LOGITS = np.array([[1.0, 3.0, 2.0], [-120.0, 0.5, 120.0]], dtype=np.float32)
DESCRIBED = described()


def labels(folder: Path, key: str = "teacher-1", limit_bytes: int = 10**9) -> SoftLabels:
    return SoftLabels(folder / key, limit_bytes=limit_bytes)


def refuse(line: str) -> NoReturn:
    raise AssertionError(line)


def test_rows_are_stored_relative_to_their_maximum() -> None:
    assert relative(LOGITS).tolist() == [[-2.0, 0.0, -1.0], [-240.0, -119.5, 0.0]]


def test_the_first_run_sees_the_stored_values_too(tmp_path: Path) -> None:
    fine = LOGITS + np.float32(1e-4)
    first, computed = labels(tmp_path).obtain("v", lambda: fine, tell=refuse)
    second, again = labels(tmp_path).obtain("v", lambda: refuse("asked"), tell=refuse)
    assert computed
    assert not again
    assert first.dtype == np.float16
    assert np.array_equal(first, second)


def test_a_damaged_file_is_named_and_computed_again(tmp_path: Path) -> None:
    store = labels(tmp_path)
    store.write("v", LOGITS)
    path = store.view_path("v")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    told: list[str] = []
    values, computed = store.obtain("v", lambda: LOGITS, tell=told.append)
    assert computed
    assert np.array_equal(values, relative(LOGITS))
    assert str(path) in told[0]
    assert np.array_equal(store.read("v"), relative(LOGITS))


@pytest.mark.parametrize("keep", [0, 10, 60])
def test_a_truncated_file_is_an_input_error(tmp_path: Path, keep: int) -> None:
    store = labels(tmp_path)
    store.write("v", LOGITS)
    path = store.view_path("v")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="damaged") as caught:
        store.read("v")
    assert "compress soft-labels --teacher" in caught.value.hint


def test_a_missing_view_without_a_teacher_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing") as caught:
        labels(tmp_path).obtain("v", None, tell=refuse)
    assert "compress soft-labels --teacher" in caught.value.hint


def test_two_who_want_one_view_compute_it_once(tmp_path: Path) -> None:
    calls: list[int] = []
    told: list[str] = []
    gate = threading.Barrier(2)

    def fill() -> np.ndarray:
        calls.append(1)
        return LOGITS

    def work() -> None:
        gate.wait()
        labels(tmp_path).obtain("v", fill, tell=told.append)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert all("waiting for it to end" in line for line in told)
    assert np.array_equal(labels(tmp_path).read("v"), relative(LOGITS))


def test_the_least_recently_used_view_goes_first(tmp_path: Path) -> None:
    store = labels(tmp_path)
    for age, name in ((300, "old"), (200, "older-but-read"), (100, "new")):
        store.write(name, LOGITS)
        stamp = store.view_path(name).stat().st_mtime - age
        os.utime(store.view_path(name), (stamp, stamp))
    store.read("older-but-read")
    size = store.view_path("new").stat().st_size
    removed = make_room(tmp_path, 2 * size)
    assert [path.stem for path in removed] == ["old"]
    assert store.has("older-but-read")
    assert store.has("new")


def test_what_a_running_run_uses_is_never_removed(tmp_path: Path) -> None:
    used, idle = labels(tmp_path, "used"), labels(tmp_path, "idle")
    used.write("v", LOGITS)
    idle.write("v", LOGITS)
    with used.in_use():
        removed = make_room(tmp_path, 0)
        assert [path.parent.parent.name for path in removed] == ["idle"]
    assert [path.parent.parent.name for path in make_room(tmp_path, 0)] == ["used"]


def test_a_shared_lock_is_asked_of_a_file_that_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS refuses it otherwise, and nothing would be held."""
    asked: list[bool] = []

    def flock(lock: IO[str], kind: int) -> None:
        if kind == fcntl.LOCK_SH:
            asked.append(lock.readable())

    monkeypatch.setattr(fcntl, "flock", flock)
    with labels(tmp_path).in_use():
        assert asked == [True]


def test_a_folder_that_outgrows_its_limit_in_use_is_told_once(tmp_path: Path) -> None:
    store, told = labels(tmp_path, limit_bytes=2**20), list[str]()
    many = np.zeros((2**18, 1), np.float32)  # half a MiB as float16, and a header
    with store.in_use():
        for name in "uvwx":
            store.obtain(name, lambda: many, tell=told.append)
    assert told == [
        f"{tmp_path} holds 1.0 MiB of views, more than its limit of 1 MiB: what a run uses is not "
        "removed"
    ]
    assert store.has("u")


def test_room_that_could_be_made_is_not_told(tmp_path: Path) -> None:
    idle = labels(tmp_path, "idle")
    idle.write("u", LOGITS)
    one_view = idle.view_path("u").stat().st_size
    used = labels(tmp_path, "used", limit_bytes=one_view)
    with used.in_use():
        used.obtain("v", lambda: LOGITS, tell=refuse)
    assert not idle.has("u")


def test_a_view_that_is_removed_while_the_folder_is_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, properly = labels(tmp_path), Path.stat
    store.describe(DESCRIBED)
    store.write("stays", LOGITS)
    store.write("goes", LOGITS)

    def gone(self: Path, **options: Any) -> os.stat_result:
        if self.stem == "goes":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return properly(self, **options)

    monkeypatch.setattr(Path, "stat", gone)
    (found,) = list_sets(tmp_path)
    assert (found.views, found.size_bytes) == (1, len(store.view_path("stays").read_bytes()))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("lock_is_there", [True, False])
def test_a_full_cache_that_may_only_be_read_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, lock_is_there: bool
) -> None:
    store = labels(tmp_path)
    store.write("v", LOGITS)
    if lock_is_there:
        (store.folder / "use.lock").touch()
    write_only = refuse_to_write(monkeypatch, number)
    with store.in_use():
        values, computed = store.obtain("v", lambda: refuse("asked"), tell=refuse)
        monkeypatch.setattr(Path, "open", write_only)
        removed = make_room(tmp_path, 0)
    assert not computed
    assert np.array_equal(values, relative(LOGITS))
    assert bool(removed) is not lock_is_there  # a lock needs no right to write


def refuse_to_write(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[..., IO[Any]]:
    """Let nobody open a file for writing any more; returns what opens files properly."""
    properly = Path.open

    def only_read(self: Path, mode: str = "r", *arguments: Any) -> IO[Any]:
        if mode != "r":
            raise OSError(number, os.strerror(number), str(self))
        return properly(self, mode, *arguments)

    monkeypatch.setattr(Path, "open", only_read)
    return properly


def test_a_view_that_is_missing_where_nothing_can_be_written_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = labels(tmp_path)
    store.write("v", LOGITS)
    refuse_to_write(monkeypatch, errno.EROFS)
    with store.in_use(), pytest.raises(InputError, match="cannot write"):
        store.obtain("w", lambda: LOGITS, tell=refuse)


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="cannot write"),
        labels(tmp_path / "file").in_use(),
    ):
        pass


def test_evaluation_logits_come_back_in_float32(tmp_path: Path) -> None:
    store = labels(tmp_path)
    store.write_evaluation(LOGITS, LOGITS[:1])
    validation, test = store.read_evaluation()
    assert validation.dtype == np.float32
    assert np.array_equal(validation, LOGITS)
    assert np.array_equal(test, LOGITS[:1])


def test_what_a_killed_process_was_writing_is_removed_by_the_next(tmp_path: Path) -> None:
    store = labels(tmp_path)
    store.write("v", LOGITS)
    half = store.view_path("w").with_name(".w.safetensors.a1b2.part")
    half.write_bytes(b"half")
    store.obtain("w", lambda: LOGITS, tell=refuse)
    assert not half.exists()
    assert store.has("v")
    assert store.has("w")


def test_what_somebody_is_about_to_use_is_kept(tmp_path: Path) -> None:
    store = labels(tmp_path)
    for name in "uvw":
        store.write(name, LOGITS)
    removed = make_room(tmp_path, 0, keep={store.view_path("u")})
    assert [path.stem for path in removed] == ["v", "w"]
    assert store.has("u")


def test_another_process_that_answers_is_told_of_and_the_waiting_can_be_ended(
    tmp_path: Path,
) -> None:
    store, told = labels(tmp_path), list[str]()
    with (
        alone(store.folder / "fill.lock"),
        pytest.raises(Interrupted, match="stopped while waiting for"),
    ):
        store.obtain("v", lambda: LOGITS, tell=told.append, give_up=lambda: True)
    assert told == [f"another process is working in {store.folder}: waiting for it to end"]
    assert store.obtain("v", lambda: LOGITS, tell=refuse)[1]
