"""How the core speaks while it works, without knowing whether there is a terminal."""

from typing import Protocol


class Progress(Protocol):
    """Something that shows notes and the advance of long work."""

    def note(self, text: str) -> None:
        """Say one line: a choice made, a warning, what comes next."""
        ...

    def start(self, task: str, *, total: int, unit: str) -> None:
        """Begin a task of `total` units, for example 390 "step"s; one task runs at a time."""
        ...

    def advance(self, amount: int = 1, *, images: int = 0, **figures: float) -> None:
        """Count `amount` units done, `images` images seen, and show the newest figures.

        Of a task that counts images, a first call without any tells what was done of it before.
        """
        ...

    def finish(self, summary: str = "") -> None:
        """End the current task; the summary is the line that stays."""
        ...


class Silent:
    """A Progress that shows nothing."""

    def note(self, text: str) -> None:
        """Ignore a note."""

    def start(self, task: str, *, total: int, unit: str) -> None:
        """Ignore a new task."""

    def advance(self, amount: int = 1, *, images: int = 0, **figures: float) -> None:
        """Ignore an advance."""

    def finish(self, summary: str = "") -> None:
        """Ignore an end."""
