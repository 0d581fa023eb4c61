"""What `compress check` reports."""

from typing import ClassVar, Literal

from compress.records.document import Document, Environment, Part
from compress.records.model_card import Precision, Target


class CheckRow(Part):
    """One model file, run on this machine.

    Attributes:
        label: The model's name.
        file: Name of the file.
        precision: Of the file.
        target: What an int8 file was quantized for.
        images: Golden images compared; 0 where there were none to compare with.
        different: Images with any different number, where bits are compared; else with one beyond
            the float tolerance.
        top1_different: Images with another best class.
        top1: Share of the golden images classified right; a sanity check, not an accuracy.
        max_difference: Largest absolute difference of a logit or log-probability.
        max_steps: The same in quantization steps of the logits.
        allowed: What had to hold, in words.
        verdict: "pass", "fail", or "opened" where there was nothing to compare with.
        cause: The likely reason of a failure.
        note: What to know about how it was run.
        sealed: Whether the file itself holds the digest of its content, which it then equals.
    """

    label: str
    file: str
    precision: Precision
    target: Target | None = None
    images: int
    different: int = 0
    top1_different: int = 0
    top1: float | None = None
    max_difference: float | None = None
    max_steps: float | None = None
    allowed: str = ""
    verdict: Literal["pass", "fail", "opened"]
    cause: str | None = None
    note: str | None = None
    sealed: bool = False


class CheckRecord(Document):
    """The result of a check.

    Attributes:
        artifact: What was checked, as named.
        provider: Execution provider.
        verified_files: Files equal to their manifest's sha256.
        rows: One per model file.
        environment: The machine.
    """

    newest_schema: ClassVar[int] = 1

    artifact: str
    provider: str
    verified_files: int
    rows: tuple[CheckRow, ...]
    environment: Environment

    @property
    def failed(self) -> tuple[CheckRow, ...]:
        """The rows that did not pass."""
        return tuple(row for row in self.rows if row.verdict == "fail")

    @property
    def opened(self) -> tuple[CheckRow, ...]:
        """The rows that were run, and compared with nothing."""
        return tuple(row for row in self.rows if row.verdict == "opened")
