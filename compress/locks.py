"""Lock files: one process at a time, and no lock outlives its process."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from compress.errors import InputError, Interrupted
from compress.files import write_error

LOOK_AGAIN_SECONDS = 0.5
"""Between two looks at a file that another process holds."""
LOOKED_AT_SECONDS = (0.001, 0.01, 0.05, 0.0)
"""After each try to take a lock: `is_held` of another process has it for some microseconds."""


def nobody(_: str) -> None:
    """Tells nobody."""


def never() -> bool:
    """Does not give up."""
    return False


@contextmanager
def alone(
    path: Path, *, tell: Callable[[str], None] = nobody, give_up: Callable[[], bool] = never
) -> Iterator[None]:
    """Hold a lock file for a block, after whoever holds it now; its folder is made.

    Args:
        path: The file; it stays when the block ends, free.
        tell: As in `wait_until_free`.
        give_up: As in `wait_until_free`.

    Raises:
        InputError: The folder, the file or its lock is not to be had.
        Interrupted: The waiting was given up.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise write_error(path.parent, error) from error
    with lock:
        while not _mine(path, lock):
            if not wait_until_free(path, tell=tell, give_up=give_up):
                raise Interrupted(
                    f"stopped while waiting for {path.parent}",
                    hint="the same command goes on from there",
                )
            tell = nobody
        yield


def claim(path: Path, *, hint: str) -> IO[str]:
    """Take a lock file at once, for as long as what is returned stays open.

    Args:
        path: The file; its folder is there.
        hint: What to do where another process has it.

    Raises:
        InputError: Another process has it, or the file or its lock is not to be had.
    """
    try:
        lock = path.open("a")
    except OSError as error:
        raise write_error(path.parent, error) from error
    try:
        if _mine(path, lock):
            return lock
    except InputError:
        lock.close()
        raise
    lock.close()
    raise InputError(f"another process is working in {path.parent}", hint=hint)


def _mine(path: Path, lock: IO[str]) -> bool:
    """Whether the lock of an open file could be taken.

    Raises:
        InputError: The file system has no locks.
    """
    try:
        return taken(lock)
    except OSError as error:
        raise write_error(path.parent, error) from error


def taken(lock: IO[str], *, patient: bool = True) -> bool:
    """Take the lock of an open file if no other process has it; it goes with the open file.

    Args:
        lock: The file.
        patient: Whether to try for a moment: who only looks whether it is held has it for an
            instant.

    Raises:
        OSError: The file system has no locks.
    """
    for pause in LOOKED_AT_SECONDS if patient else (0.0,):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(pause)
    return False


def is_held(path: Path) -> bool:
    """Whether another process holds a lock file; a killed one leaves it free."""
    with suppress(OSError), path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_until_free(
    path: Path,
    *,
    tell: Callable[[str], None],
    give_up: Callable[[], bool],
    held: Callable[[Path], bool] = is_held,
) -> bool:
    """Let another process that holds a lock file end first.

    Args:
        path: The file.
        tell: Called with what is waited for, once, where anything is.
        give_up: Asked twice a second whether to wait no longer.
        held: Asked as often whether it is held.

    Returns:
        Whether it is free; False where the waiting was given up.
    """
    if not held(path):
        return True
    tell(f"another process is working in {path.parent}: waiting for it to end")
    while held(path):
        if give_up():
            return False
        time.sleep(LOOK_AGAIN_SECONDS)
    return True
