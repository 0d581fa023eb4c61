"""A progress for tests: it keeps what a command would show."""

from compress.progress import Silent


class Notes(Silent):
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.started: list[str] = []
        self.finished: list[str] = []

    def note(self, text: str) -> None:
        """Keep a note."""
        self.notes.append(text)

    def start(self, task: str, *, total: int, unit: str) -> None:
        """Keep the task's name."""
        self.started.append(f"{task}: {total} {unit}")

    def finish(self, summary: str = "") -> None:
        """Keep the line that stays."""
        self.finished.append(summary)

    @property
    def text(self) -> str:
        """All notes."""
        return "\n".join(self.notes)
