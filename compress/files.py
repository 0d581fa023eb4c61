"""Writing files whole or not at all, naming them by content, and finding them again."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from compress.errors import InputError


def write_error(path: Path, error: OSError) -> InputError:
    """The user's view of a failed write: full disk, read-only folder, a file in the way."""
    reason = error.strerror or str(error)
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return InputError(
        f"cannot write {path}: {reason}",
        hint="free some space and run the same command again"
        if full
        else "choose another place, or change its permissions",
    )


def behind_links(path: Path) -> Path:
    """What a symbolic link names in the end; any other path as it is.

    Raises:
        OSError: The links are a loop.
    """
    try:
        return path.resolve() if path.is_symlink() else path
    except RuntimeError as error:  # as Python up to 3.12 calls a loop of links
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling to write to; it takes the final name only when the block succeeds.

    What a symbolic link names is replaced, not the link.

    Raises:
        InputError: The folder cannot be made or written, or the disk is full.
    """
    try:
        path = behind_links(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise write_error(path, error) from error
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def printable(text: str) -> str:
    r"""A file's name, or a message with one, as text that can be written anywhere.

    Linux allows any bytes in names; those that are no UTF-8 become `\xNN`.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; a device or a pipe is written to as it is.

    Raises:
        InputError: The folder cannot be made or written, or the disk is full.
    """
    try:
        if _is_stream(path):
            path.write_bytes(data)
            return
    except OSError as error:
        raise write_error(path, error) from error
    with atomic_path(path) as part:
        part.write_bytes(data)


def _is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or an open file of a process, which nothing replaces."""
    if path.parent == Path("/dev") or path.is_relative_to("/dev/fd"):
        return True
    return path.exists() and not (path.is_file() or path.is_dir())


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file whole or not at all.

    Raises:
        InputError: The folder cannot be made or written, or the disk is full.
    """
    write_bytes(path, text.encode("utf-8"))


def sha256_file(path: Path) -> str:
    """The hex sha256 of a file's content.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def seen_from(run: Path, path: str, *, sha256: str | None = None) -> Path:
    """Where something lies that a run names, seen from another working directory, too.

    Args:
        run: The run directory, which mostly lies below the folder it was begun from.
        path: As its manifest has it: often relative to that folder.
        sha256: Of the file that is meant; where several lie in these places, the one with it.

    Returns:
        The path as it is where it leads somewhere; else from the nearest folder above the run from
        which it does, and as it is where there is none.
    """
    place = Path(path)
    if place.is_absolute():
        return place
    named = Path(os.path.abspath(run))  # noqa: PTH100 - runs/ may be a link, which resolve follows
    above = (folder / place for folder in (*named.parents, *run.resolve().parents))
    found = (one for one in (place, *above) if one.exists())
    if sha256 is None:
        return next(found, place)
    there = list(found)
    return next((one for one in there if sha256_file(one) == sha256), [*there, place][0])
