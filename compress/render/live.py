"""Shows work while it goes on, on stderr: a live bar at a terminal, plain lines elsewhere."""

import os
import re
import sys
import time
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from compress.progress import Progress, Silent
from compress.render.numbers import clock, size

REFRESHES_PER_SECOND = 4
"""Few, since the thread that draws takes its time from the cores that train."""

EPOCH = re.compile(r"\bepoch (\d+)/(\d+)")
BAR_WIDTH = 12
ACCURACIES = ("top1", "agreement", "accuracy")


class Shown(Progress, Protocol):
    """A Progress for a `with` block, which leaves the terminal as it was found."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, *details: object) -> None:
        """Remove a bar that is still there."""
        ...


def make_progress(quiet: bool = False, *, stream: TextIO | None = None) -> Shown:
    """The progress a command shows.

    Args:
        quiet: Show nothing at all.
        stream: Where to write; None is stderr.

    Returns:
        A live bar where the stream is a terminal that can move its cursor, else one plain line per
        finished task and note.
    """
    if quiet:
        return Quiet()
    stream = sys.stderr if stream is None else stream
    if stream.isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}:
        return Bar(stream)
    return Lines(stream)


class Quiet(Silent):
    """Shows nothing."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *details: object) -> None:
        """Nothing to remove."""


class Lines:
    """Writes a line per note and per finished task, for logs.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *details: object) -> None:
        """Nothing to remove."""

    def note(self, text: str) -> None:
        """Write the note."""
        self._stream.write(f"{text}\n")

    def start(self, task: str, *, total: int, unit: str) -> None:
        """Say nothing yet."""

    def advance(self, amount: int = 1, *, images: int = 0, **figures: float) -> None:
        """Say nothing yet."""

    def finish(self, summary: str = "") -> None:
        """Write the summary."""
        if summary:
            self.note(summary)


class Bar:
    """Draws the running task on one line; notes and summaries scroll by above it.

    Args:
        stream: A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, force_terminal=True, highlight=False)
        self._live: RichProgress | None = None
        self._images = self._total = 0
        self._fresh = True
        self._pace = _Pace()

    def __enter__(self) -> Self:
        """Begin; the terminal is touched only while a task runs."""
        return self

    def __exit__(self, *details: object) -> None:
        """Remove a bar that is still there and show the cursor again."""
        self._stop()

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(Text(text), soft_wrap=True)

    def start(self, task: str, *, total: int, unit: str) -> None:
        """Draw a new bar in the place of the last."""
        self._stop()
        self._images, self._total, self._fresh = 0, total, True
        self._pace.start(task, time.monotonic())
        fixed = Column(no_wrap=True)
        self._live = RichProgress(
            _Name(table_column=Column(no_wrap=True, overflow="ellipsis")),
            # of a line that is too long the bar alone gets shorter: all else says something
            BarColumn(bar_width=None, table_column=Column(max_width=BAR_WIDTH)),
            _Share(table_column=fixed),
            _Figures(table_column=Column(no_wrap=True, overflow="ellipsis")),
            _Rate(unit, table_column=fixed),
            _Left(self._pace, table_column=fixed),
            console=self._console,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
        )
        self._live.add_task(task, total=total or None, figures={}, images=0, before=0)
        self._live.start()

    def advance(self, amount: int = 1, *, images: int = 0, **figures: float) -> None:
        """Move the bar on; a task that begins with no images goes on from where it was left."""
        if self._live is None:
            return
        self._images += images
        task = self._live.task_ids[0]
        fresh, self._fresh = self._fresh, False
        if fresh and amount and self._total and not images:
            self._pace.skip(amount / self._total)
            self._live.update(task, before=amount)
        if figures:
            self._live.update(task, advance=amount, images=self._images, figures=figures)
        else:
            self._live.update(task, advance=amount, images=self._images)

    def finish(self, summary: str = "") -> None:
        """Replace the bar by the summary."""
        self._stop()
        if summary:
            self.note(summary)

    def _stop(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()


class _Pace:
    """Knows how long whole epochs take, evaluation included, to say when all of them are done."""

    def __init__(self) -> None:
        self._single = True
        self._epoch = self._epochs = 0
        self._began = 0.0
        self._share = 1.0  # of the epoch, that is done since it began here
        self._mean: float | None = None
        self._seen = 0

    def start(self, task: str, now: float) -> None:
        """Note that a task began at a time in seconds; tasks without `epoch a/b` are single."""
        found = EPOCH.search(task)
        self._single = found is None
        if found is None:
            return
        epoch, epochs = int(found[1]), int(found[2])
        if epochs != self._epochs or epoch != self._epoch + 1:
            self._mean, self._seen = None, 0
        elif self._share == 1:
            took = now - self._began
            self._seen += 1
            mean = took if self._mean is None else self._mean
            self._mean = mean + (took - mean) / self._seen
        self._epoch, self._epochs, self._began, self._share = epoch, epochs, now, 1.0

    def skip(self, share: float) -> None:
        """Note that a share of the task that just began, from 0 to 1, was done long before."""
        if not self._single and share < 1:
            self._share = 1 - share

    def left(self, task_left: float, now: float) -> float:
        """Seconds until the last epoch ends, when the running task needs `task_left` more."""
        if self._single:
            return task_left
        later = self._epochs - self._epoch
        whole = (now - self._began + task_left) / self._share
        return task_left + later * (whole if self._mean is None else self._mean)


class _Name(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.description)


class _Share(ProgressColumn):
    def render(self, task: Task) -> Text:
        share = f"{task.percentage:3.0f}%" if task.total else ""
        return Text(share, style="progress.percentage")


class _Figures(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("  ".join(figure(n, value) for n, value in task.fields["figures"].items()))


class _Rate(ProgressColumn):
    """Images per second where images are counted, bytes for downloads, else units done."""

    def __init__(self, unit: str, *, table_column: Column) -> None:
        super().__init__(table_column=table_column)
        self._unit = unit

    def render(self, task: Task) -> Text:
        images, total = task.fields["images"], int(task.total or 0)
        done = task.completed - task.fields["before"]
        if images and done:
            text = f"{images / done * (task.speed or 0):,.0f} img/s"
        elif self._unit == "byte":
            of = f" of {size(total)}" if total else ""
            text = f"{size(task.completed)}{of}  {size(task.speed or 0)}/s"
        else:
            of = f"/{total}" if total else ""
            plural = "s" if len(self._unit) > 3 else ""  # words, not s, ms or MiB
            text = f"{int(task.completed)}{of} {self._unit}{plural}"
        return Text(text, style="dim")


class _Left(ProgressColumn):
    max_refresh = 0.5

    def __init__(self, pace: _Pace, *, table_column: Column) -> None:
        super().__init__(table_column=table_column)
        self._pace = pace

    def render(self, task: Task) -> Text:
        if task.time_remaining is None:
            return Text("-:-- left", style="dim")
        seconds = self._pace.left(task.time_remaining, time.monotonic())
        return Text(f"{clock(seconds)} left", style="cyan")


def figure(name: str, value: float) -> str:
    """A named figure as the bar shows it: accuracies in per cent, else three digits."""
    shown = f"{100 * value:.1f}%" if name.endswith(ACCURACIES) else f"{value:.3g}"
    return f"{name.replace('_', ' ')} {shown}"
