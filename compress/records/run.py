"""The manifest of a run directory, and what training writes per epoch."""

from typing import Any, ClassVar, Literal

from compress.records.document import Document, Environment, Part

DATA, UNLABELLED = "data", "unlabelled images"
"""What a manifest calls the images of a run, among its inputs."""
INITIAL = "initial weights"
"""What it calls the weights that models began with, among its inputs and choices."""

Status = Literal["running", "complete", "failed", "interrupted"]


class FileRecord(Part):
    """A file by content.

    Attributes:
        sha256: Of the content, in hex.
        size_bytes: Its length.
    """

    sha256: str
    size_bytes: int


class InputRecord(Part):
    """Something a run was made from.

    Attributes:
        source: As the user named it, or where it was found.
        sha256: Of the content, in hex.
    """

    source: str
    sha256: str


class RunManifest(Document):
    """What a run directory holds and where it came from.

    Attributes:
        id: `<data>-<what>-<8 hex digits of the configuration as asked>`.
        status: Only "complete" runs are used by later stages.
        command: `train` or `distill`.
        config: The configuration as asked, recipe and defaults applied.
        inputs: Data, teacher and the like by role.
        choices: What was decided automatically, by name: device, formats, threads, teacher.
        artifacts: The run's files by path inside it; filled when complete.
        environment: The machine that began the run.
        reason: Why it failed, in one line.
    """

    newest_schema: ClassVar[int] = 1

    id: str
    status: Status
    command: Literal["train", "distill"]
    config: dict[str, Any]
    inputs: dict[str, InputRecord] = {}
    choices: dict[str, Any] = {}
    artifacts: dict[str, FileRecord] = {}
    environment: Environment
    reason: str | None = None

    @property
    def data_sha256(self) -> str | None:
        """Digest of the images the run learns from; None before they were read."""
        data = self.inputs.get(DATA)
        return None if data is None else data.sha256

    def beginning(self, label: str) -> dict[str, Any]:
        """What is noted of the weights that a model began with; empty where its seed drew them."""
        noted: dict[str, Any] = self.choices.get(INITIAL, {}).get(label, {})
        return noted

    @property
    def labels(self) -> list[str]:
        """The models whose weights it holds, by name, once it is complete."""
        return sorted(
            name.removeprefix("students/").removesuffix(".safetensors")
            for name in self.artifacts
            if name.startswith("students/")
            and name.endswith(".safetensors")
            and not name.endswith(".last.safetensors")
        )


class EpochRecord(Part):
    """One student's epoch, one line of epochs.jsonl.

    Attributes:
        label: The student.
        epoch: From 1.
        loss: Mean training loss over the epoch's steps.
        train_top1: On the augmented training batches, while learning; a fraction.
        val_top1: On the validation split after the epoch; a fraction.
        val_loss: Cross-entropy there, in nats.
        learning_rate: At the epoch's last step.
        images_per_second: Training only, all students of the run together.
        seconds: Training and evaluation of this student.
    """

    label: str
    epoch: int
    loss: float
    train_top1: float
    val_top1: float
    val_loss: float
    learning_rate: float
    images_per_second: float
    seconds: float
