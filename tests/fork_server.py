"""Starts `compress` again and again without importing PyTorch again: `python -m tests.fork_server`.

It has imported everything and computed nothing. For every line of JSON on standard input it forks a
process that is `compress` with those arguments, perhaps sends it a signal at some moment, and
prints its exit code (as `subprocess` does: minus the signal that ended it). Only the server sends
signals, to a child it has not waited for yet: no other process can have that id.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parent.parent
TICK_SECONDS = 0.002
PRELOADED = (
    "compress.cli.app",
    "compress.cli.drawing",
    "compress.cli.distill",
    "compress.render.live",
    "compress.render.plots",
    "compress.render.tables.distill",
    "compress.stages.distill",
    "compress.training.learner",
    "matplotlib.pyplot",
    "sklearn.datasets",
)


@dataclass(frozen=True)
class Ended:
    """A forked `compress` that is no more.

    Attributes:
        code: Its exit code, minus the signal where one ended it.
        output: What it said, on both streams.
    """

    code: int
    output: str


class Starter:
    """Runs `compress` in a folder, one process at a time."""

    def __init__(self, server: "subprocess.Popen[str]", folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._count = 0

    def __call__(
        self,
        *argv: object,
        signal: int | None = None,
        after: float = 0.0,
        when: str | None = None,
    ) -> Ended:
        """Run it to its end.

        Args:
            argv: Its arguments.
            signal: Sent to it, if it lives long enough.
            after: Seconds of its life before the signal.
            when: A path in the folder that must be there before the signal.
        """
        self._count += 1
        log = self._folder / f"{self._count}.log"
        order = {
            "argv": [str(word) for word in argv],
            "cwd": str(self._folder),
            "log": str(log),
            "signal": signal,
            "after": after,
            "when": None if when is None else str(self._folder / when),
        }
        if self._server.stdin is None or self._server.stdout is None:
            raise ValueError("the server has no pipes")
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        if not answer:
            raise ValueError(f"the fork server is gone: {self._server.poll()}")
        return Ended(int(answer), log.read_text(encoding="utf-8"))


@contextmanager
def fork_server(folder: Path, environment: Mapping[str, str]) -> Iterator[Starter]:
    """A server for the time of a block, working in a folder."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.fork_server"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:  # closes the pipes, on which the server ends, and waits for it
        yield Starter(server, folder)


def _become(argv: Sequence[str], cwd: str, log: str) -> NoReturn:
    """Be `compress` in this forked process."""
    code: Any = 70
    try:
        from compress.__main__ import main

        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        os.chdir(cwd)
        sys.argv = ["compress", *argv]
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _accompany(child: int, order: Mapping[str, Any]) -> int:
    """Wait for a child, sending it the signal of its order when the moment has come."""
    begin, number = time.monotonic(), order["signal"]
    while True:
        ended, status = os.waitpid(child, 0 if number is None else os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        lived = time.monotonic() - begin
        if lived >= order["after"] and (order["when"] is None or Path(order["when"]).exists()):
            os.kill(child, number)
            number = None
        time.sleep(TICK_SECONDS)


def main() -> None:
    """Serve until standard input ends."""
    from importlib import import_module

    for module in PRELOADED:
        import_module(module)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(order["argv"], order["cwd"], order["log"])
        sys.stdout.write(f"{_accompany(child, order)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
