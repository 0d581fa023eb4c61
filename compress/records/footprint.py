"""What a run costs beside its training: memory, and the time until it begins."""

from typing import ClassVar

from compress.records.document import Document, Environment

MEMORY_LIMIT = 1.3
"""A run's memory above that of its imports, by what it cannot do without."""
BEGIN_LIMIT_SECONDS = 5.0
"""From the start of the process to its first step, soft labels and trials at hand."""


class FootprintRecord(Document):
    """What benchmarks/run_footprint.py measured of one run of `compress distill`.

    Attributes:
        command: As it can be run again.
        data: Name of the data set.
        teacher: As the user named it.
        student: Model and options.
        learners: Students and controls, trained side by side.
        batch_size: Images per step.
        threads: Of PyTorch.
        format: Memory and number format of the student.
        images_bytes: All images of the three splits as bytes.
        weights_bytes: Weights, buffers and optimizer state of all learners.
        activations_bytes: What one batch keeps for the backward pass of one learner.
        imports_bytes: Peak memory of a process that only imports what the run imports.
        begun_bytes: Peak memory of the run until its first step was done.
        trained_bytes: Peak memory of the run until its last step was done.
        peak_bytes: Peak memory of the run, evaluation and plots included.
        first_step_seconds: From the start of the process until the first step was done; a median.
        imports_seconds: What the process that only imports took from its start, as long as it ran;
            a median.
        starts: How many times either was timed.
        disturbed: Whether something else used the processor between the measured processes: times
            are indicative.
        environment: The machine.
    """

    newest_schema: ClassVar[int] = 1

    command: str
    data: str
    teacher: str
    student: str
    learners: int
    batch_size: int
    threads: int
    format: str
    images_bytes: int
    weights_bytes: int
    activations_bytes: int
    imports_bytes: int
    begun_bytes: int
    trained_bytes: int
    peak_bytes: int
    first_step_seconds: float
    imports_seconds: float
    starts: int = 1
    disturbed: bool
    environment: Environment

    @property
    def needed_bytes(self) -> int:
        """What a run cannot do without: images, weights, optimizer state, one batch."""
        return self.images_bytes + self.weights_bytes + self.activations_bytes

    @property
    def memory_ratio(self) -> float:
        """Peak memory above that of the imports, by what is needed."""
        return (self.peak_bytes - self.imports_bytes) / self.needed_bytes

    @property
    def met(self) -> bool:
        """Whether both targets are met."""
        return self.memory_ratio <= MEMORY_LIMIT and self.first_step_seconds <= BEGIN_LIMIT_SECONDS
