"""The standard streams: closed from the start, on a full disk, left by their reader (`| head`)."""

import io
import os
import sys
from typing import TextIO


class Messages(io.TextIOWrapper):
    """Standard error: what the program does, and its exit code, do not depend on who listens.

    Also for what Rich, Typer and other libraries write there.
    """

    def write(self, text: str, /) -> int:
        """Write a text; where that fails, it and all that follow go nowhere."""
        try:
            return super().write(text)
        except OSError:
            tell_nobody(self)
            return len(text)

    def flush(self) -> None:
        """Write what is still held; where that fails, it and all that follow go nowhere."""
        try:
            super().flush()
        except OSError:
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
