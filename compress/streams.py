"""The standard streams, whose reader may leave before the program ends (`| head`)."""

import os
from typing import TextIO


def write(stream: TextIO, text: str) -> None:
    """Write a text at once; that nobody reads any more is no error.

    What the program does, and its exit code, do not depend on who listens.
    """
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        tell_nobody(stream)


def tell_nobody(stream: TextIO) -> None:
    """Send what a stream still holds, and all that is written to it later, nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
