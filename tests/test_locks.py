"""Lock files: held by one process, free when it ends, and waited for."""

import errno
import fcntl
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from compress.errors import InputError, Interrupted
from compress.locks import alone, claim, is_held, taken, wait_until_free

HOLDER = """
import sys, time
from pathlib import Path
from compress.locks import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds `tmp_path/place/lock`."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "place" / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_who_holds_a_file_is_seen_without_holding_it(tmp_path: Path) -> None:
    lock = tmp_path / "place" / "lock"
    assert not is_held(lock)
    assert not lock.parent.exists()
    with alone(lock):
        assert is_held(lock)
        assert is_held(lock)
    assert not is_held(lock)
    assert lock.is_file()


def test_a_killed_process_holds_nothing(other: "subprocess.Popen[str]", tmp_path: Path) -> None:
    assert is_held(tmp_path / "place" / "lock")
    other.kill()
    other.wait()
    assert not is_held(tmp_path / "place" / "lock")


def test_a_second_process_gets_in_only_after_the_first(
    other: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    lock = tmp_path / "place" / "lock"
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
        assert second.stdout is not None
        assert select.select([second.stdout], [], [], 1.5)[0] == []
        other.kill()
        assert second.stdout.readline() == "held\n"
        second.kill()


def test_waiting_to_be_alone_can_be_given_up(
    other: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    said: list[str] = []
    lock = tmp_path / "place" / "lock"
    assert other.poll() is None
    with (
        pytest.raises(Interrupted, match="stopped while waiting for"),
        alone(lock, tell=said.append, give_up=lambda: True),
    ):
        pass
    assert said == [f"another process is working in {lock.parent}: waiting for it to end"]


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"), alone(tmp_path / "file" / "lock"):
        pass


def test_what_is_free_is_not_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    assert wait_until_free(tmp_path / "lock", tell=said.append, give_up=lambda: False)
    assert said == []


@pytest.mark.parametrize("gives_up", [False, True])
def test_waiting_ends_with_the_holder_or_when_it_is_given_up(
    other: "subprocess.Popen[str]",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gives_up: bool,
) -> None:
    pauses: list[float] = []
    said: list[str] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2 and not gives_up:
            other.kill()
            other.wait()

    monkeypatch.setattr(time, "sleep", pause)
    lock = tmp_path / "place" / "lock"
    over = wait_until_free(lock, tell=said.append, give_up=lambda: gives_up and len(pauses) == 2)
    assert over is not gives_up
    assert is_held(lock) is gives_up
    assert len(pauses) == 2
    assert said == [f"another process is working in {lock.parent}: waiting for it to end"]


def test_a_look_of_another_process_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`is_held` has the lock for an instant: who tries just then tries again."""
    path = tmp_path / "lock"
    pauses: list[float] = []
    with path.open("a") as looking, path.open("a") as mine:

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                fcntl.flock(looking, fcntl.LOCK_UN)

        monkeypatch.setattr(time, "sleep", pause)
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert taken(mine)
    assert pauses == [0.001, 0.01]


def test_a_claim_is_refused_while_another_process_is_there(
    other: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    lock = tmp_path / "place" / "lock"
    with pytest.raises(InputError, match=r"another process is working in .*place") as caught:
        claim(lock, hint="wait")
    assert caught.value.hint == "wait"
    other.kill()
    other.wait()
    with claim(lock, hint="wait"):
        assert is_held(lock)
    assert not is_held(lock)


@pytest.mark.parametrize("take", [partial(claim, hint=""), lambda lock: alone(lock).__enter__()])
def test_a_file_system_without_locks_is_not_called_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, take: Callable[[Path], object]
) -> None:
    def none_here(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none_here)
    with pytest.raises(InputError, match="No locks available"):
        take(tmp_path / "lock")


def test_who_has_no_time_tries_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    monkeypatch.setattr(time, "sleep", lambda seconds: seconds and pytest.fail("waited"))
    with path.open("a") as theirs, path.open("a") as mine:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert not taken(mine, patient=False)
