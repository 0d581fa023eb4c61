"""What `compress export` reports."""

from typing import ClassVar

from compress.records.artifact import ArtifactManifest
from compress.records.document import Document, Environment, Part


class ExportRow(Part):
    """One exported artifact.

    Attributes:
        folder: Where it lies.
        manifest: Its manifest, as written.
        problems: Why a form that was asked for is not among its files; empty when all are.
        seconds: Spent on it.
    """

    folder: str
    manifest: ArtifactManifest
    problems: tuple[str, ...] = ()
    seconds: float


class ExportRecord(Document):
    """The result of an export.

    Attributes:
        source: The run or file, as named.
        artifacts: Students, then the teacher.
        environment: The machine that measured.
    """

    newest_schema: ClassVar[int] = 1

    source: str
    artifacts: tuple[ExportRow, ...]
    environment: Environment

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem, with its artifact."""
        return tuple(
            f"{row.manifest.label}: {problem}" for row in self.artifacts for problem in row.problems
        )
