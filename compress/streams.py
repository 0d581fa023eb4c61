"""The standard streams: closed from the start, on a full disk, left by their reader (`| head`)."""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO

PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EAGAIN}
"""A disk that is full, and a terminal that cannot take more yet."""


class Messages(io.TextIOWrapper):
    """Standard error: what the program does, and its exit code, do not depend on who listens.

    Also for what Rich, Typer and other libraries write there.
    """

    def write(self, text: str, /) -> int:
        """Write a text, as far as somebody is there to read it."""
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Write what is still held, as far as somebody is there to read it."""
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """End, whatever becomes of what is still held."""
        with suppress(OSError):
            super().close()

    def _give_up(self, error: OSError) -> None:
        """Lead nowhere from now on, unless what failed may pass: then the next text is tried."""
        if error.errno not in PASSING:
            tell_nobody(self)


def prepare() -> None:
    """Make the standard streams fit to be used, whatever the program was started with.

    Those that were closed (`2>&-`) are opened and lead nowhere: Python has None in their place, and
    the next file to be opened would get their number. A sign that a locale does not have is
    written as its escape. Standard error becomes `Messages`.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        encoding = sys.stderr.encoding
        sys.stderr = Messages(
            sys.stderr.detach(), encoding=encoding, errors="backslashreplace", line_buffering=True
        )
        sys.__stderr__ = sys.stderr  # type: ignore[misc]  # nobody can write the detached one


def tell_nobody(stream: TextIO) -> None:
    """Send what a stream still holds, and all that is written to it later, nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
