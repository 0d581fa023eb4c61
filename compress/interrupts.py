"""Ctrl-C and SIGTERM as a polite request first, and as an end second."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """Whether somebody asked to stop; long loops look at it between epochs.

    Attributes:
        requested: Set by the first signal.
    """

    requested: bool = False


@contextmanager
def polite_stop(tell: Callable[[str], None]) -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request; the second interrupts at once.

    Args:
        tell: Called with one line when the first signal comes.

    Raises:
        KeyboardInterrupt: From inside the block, at the second signal.
    """
    stop = StopRequest()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True
        tell("stopping after this epoch is saved; once more to stop now")

    try:
        previous = {
            number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # signals can be caught in the main thread only
        yield stop
        return
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
