"""What `--restart` finds in a run directory: put aside, brought back, or let go of.

A process may be killed between any two steps, so names say what is left to do: what lies in
`.replacing` is to be moved back, `.replaced` waits whole for the new run to begin, `.discarded` is
to be removed. The manifest is the first to leave and the last to come back: nobody finds it without
the files it lists. A run that has not begun has written nothing but its manifest.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.files import write_error

REPLACED = ".replaced"
REPLACING = ".replacing"
DISCARDED = ".discarded"
FOLDERS = frozenset({REPLACED, REPLACING, DISCARDED})


def waits(folder: Path) -> bool:
    """Whether a folder holds what was put aside, or a part of it."""
    return any((folder / name).is_dir() for name in (REPLACED, REPLACING))


def put_aside(folder: Path, *, manifest: str, lock: str) -> None:
    """Move what a run directory holds out of the way of the run that takes its place.

    Args:
        folder: Held by this process, and settled.
        manifest: The file that makes it a run; where it is missing there is nothing to keep.
        lock: The file that stays.

    Raises:
        InputError: The folder cannot be written.
    """
    if not (folder / manifest).is_file() or waits(folder):
        return
    replacing = folder / REPLACING
    with _written(folder):
        replacing.mkdir()
        (folder / manifest).rename(replacing / manifest)
        for entry in list(folder.iterdir()):
            if entry.name not in {lock, *FOLDERS}:
                entry.rename(replacing / entry.name)
        replacing.rename(folder / REPLACED)


def bring_back(folder: Path, *, manifest: str) -> bool:
    """Undo `put_aside`, however far it came; the run that was to follow has not begun.

    Args:
        folder: Held by this process.
        manifest: The file that makes it a run.

    Returns:
        Whether there was something to bring back.

    Raises:
        InputError: The folder cannot be written.
    """
    replacing, replaced = folder / REPLACING, folder / REPLACED
    with _written(folder):
        if replaced.is_dir():
            (folder / manifest).unlink(missing_ok=True)
            replaced.rename(replacing)
        if not replacing.is_dir():
            return False
        for entry in sorted(replacing.iterdir(), key=lambda entry: entry.name == manifest):
            entry.rename(folder / entry.name)
        replacing.rmdir()
    return True


def settle(folder: Path, *, manifest: str) -> None:
    """Finish what a killed process was doing; a run that has not begun yet may still begin.

    Args:
        folder: Held by this process.
        manifest: The file that makes it a run.

    Raises:
        InputError: The folder cannot be written.
    """
    shutil.rmtree(folder / DISCARDED, ignore_errors=True)
    if (folder / REPLACING).is_dir() or not (folder / manifest).is_file():
        bring_back(folder, manifest=manifest)


def let_go(folder: Path) -> None:
    """Remove what was put aside; from its first moment on nothing brings it back.

    Raises:
        InputError: The folder cannot be written.
    """
    if not (folder / REPLACED).is_dir():
        return
    with _written(folder):
        (folder / REPLACED).rename(folder / DISCARDED)
    shutil.rmtree(folder / DISCARDED, ignore_errors=True)


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    """A block that changes a folder, its failure told as such."""
    try:
        yield
    except OSError as error:
        raise write_error(folder, error) from error
