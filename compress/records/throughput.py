"""How fast distillation runs on a machine: the evidence behind published speeds."""

from statistics import median
from typing import ClassVar

from compress.records.document import Document, Environment, Part


class PairThroughput(Part):
    """One teacher and student; speeds in images/s, one per round, all variants in each round.

    Attributes:
        name: W1, W2 or W3.
        teacher: Model and options.
        student: Model and options.
        steps: Timed steps of each variant in a round.
        teacher_format: What our trial chose for the teacher.
        student_format: What our trial chose for the student.
        limit_teacher_format: The fastest found for the bare teacher.
        limit_student_format: The fastest found for the bare student.
        plain: The loop people write: PIL images, a DataLoader, the teacher at every step.
        uncached: Ours with no soft labels stored.
        cached: Ours from stored soft labels.
        limit_with_teacher: Teacher forward and student step on one resident random batch.
        limit_student: The student step alone on one resident random batch.
        company_cost: Time of one teacher sweep and four students in one run, divided by that of the
            parts run one by one; empty where it was not measured.
    """

    name: str
    teacher: str
    student: str
    steps: int
    teacher_format: str
    student_format: str
    limit_teacher_format: str
    limit_student_format: str
    plain: tuple[float, ...]
    uncached: tuple[float, ...]
    cached: tuple[float, ...]
    limit_with_teacher: tuple[float, ...]
    limit_student: tuple[float, ...]
    company_cost: tuple[float, ...] = ()

    def ratios(self, above: str, below: str) -> tuple[float, ...]:
        """One variant's speed over another's, round by round: slow spells meet both."""
        pairs = zip(getattr(self, above), getattr(self, below), strict=True)
        return tuple(one / other for one, other in pairs)

    def ratio(self, above: str, below: str) -> float:
        """The median over rounds of `ratios`."""
        return median(self.ratios(above, below))


class ThroughputRecord(Document):
    """What benchmarks/distill_throughput.py measured.

    Attributes:
        command: As it can be run again.
        batch_size: Images per step.
        image_size: Side of the images in pixels.
        threads: Of PyTorch, for everything; the plain loop's two workers come on top.
        device: "cpu" or "cuda".
        pairs: What was measured.
        seconds: All of it.
        environment: The machine.
    """

    newest_schema: ClassVar[int] = 1

    command: str
    batch_size: int
    image_size: int
    threads: int
    device: str
    pairs: tuple[PairThroughput, ...]
    seconds: float
    environment: Environment
