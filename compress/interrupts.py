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


class _Listener:
    """Hears the signals of this process: the first is a request, the second interrupts."""

    def __init__(self, tell: Callable[[str], None], unit: str) -> None:
        self.stop = StopRequest()
        self._tell = tell
        self._unit = unit

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if self.stop.requested:
            raise KeyboardInterrupt
        self.stop.requested = True
        self._tell(f"stopping after this {self._unit} is saved; once more to stop now")


@contextmanager
def polite_stop(tell: Callable[[str], None], *, unit: str = "epoch") -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request; the second interrupts at once.

    Inside another such block it is the same request: a training that is part of a longer work ends
    that work, too, also where it was in its last epoch and had nothing left to stop.

    Args:
        tell: Called with one line when the first signal comes.
        unit: What is finished and saved before the end.

    Raises:
        KeyboardInterrupt: From inside the block, at the second signal.
    """
    outer = signal.getsignal(signal.SIGINT)
    if isinstance(outer, _Listener):
        yield outer.stop
        return
    listener = _Listener(tell, unit)
    try:
        previous = {
            number: signal.signal(number, listener) for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # signals can be caught in the main thread only
        yield listener.stop
        return
    try:
        yield listener.stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
