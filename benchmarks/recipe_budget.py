"""The time that run_recipes.py has, and the child that must hear when it is over."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from compress.locks import wait_until_free
from compress.runs import LOCK


class Budget:
    """The time left, and the child that must be told when it is over.

    A signal to this process is passed on to the child, which ends after its epoch.

    Args:
        minutes: How many there are; None is no limit.

    Attributes:
        interrupted: Somebody asked to stop.
    """

    def __init__(self, minutes: float | None) -> None:
        self.interrupted = False
        self._end = None if minutes is None else time.monotonic() + 60 * minutes
        self._told = False
        self._child: subprocess.Popen[bytes] | None = None

    def interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        self.interrupted = True
        self._tell()

    def is_over(self) -> bool:
        """Whether nothing more is to be begun."""
        return self.interrupted or (self._end is not None and time.monotonic() >= self._end)

    def wait_for(self, folder: Path) -> None:
        """Let another process that works in a run directory end first, or the time be over.

        It may be the child of a script that was killed: that trains on by itself.

        Args:
            folder: The run's.
        """
        if not self.is_over():
            tell = partial(print, file=sys.stderr, flush=True)
            wait_until_free(folder / LOCK, tell=tell, give_up=self.is_over)

    def run(self, command: Sequence[str]) -> int:
        """Run a command, asking it to stop when the time is over; returns its exit code."""
        # in a session of its own: Ctrl-C reaches it once, through us
        self._child = subprocess.Popen(command, start_new_session=True)
        self._told = False
        if self.interrupted:  # while the child was being made
            self._tell()
        while True:
            left = None if self._end is None or self._told else self._end - time.monotonic()
            try:
                return self._child.wait(None if left is None else max(left, 0.0))
            except subprocess.TimeoutExpired:
                print("the minutes are spent: stopping after this epoch", file=sys.stderr)
                self._tell()

    def _tell(self) -> None:
        self._told = True
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
