"""What `compress report` found out about finished runs; everything its page shows."""

from typing import ClassVar, Literal

from compress.records.distill import DistillRecord, StudentRow
from compress.records.document import Document, Part
from compress.records.run import EpochRecord, InputRecord
from compress.records.train import TrainRecord


class ReliabilityBin(Part):
    """Test images whose largest probability lies in one range.

    Attributes:
        count: How many.
        confidence: Mean of their largest probability.
        top1: Share of them that is right.
    """

    count: int
    confidence: float
    top1: float


class ClassRow(Part):
    """One class in the test split, before and after.

    Attributes:
        name: The class.
        images: Test images of it.
        top1: The student's share of right answers.
        teacher_top1: The teacher's; null without a teacher.
        lost: Images the teacher gets right and the student wrong.
        won: Images the student gets right and the teacher wrong.
    """

    name: str
    images: int
    top1: float
    teacher_top1: float | None = None
    lost: int | None = None
    won: int | None = None


class Agreement(Part):
    """Test images by who is right; the four add up to all of them.

    Attributes:
        both: Teacher and student.
        teacher_only: The teacher.
        student_only: The student.
        neither: Nobody.
    """

    both: int
    teacher_only: int
    student_only: int
    neither: int


class Disagreement(Part):
    """A test image on which teacher and student differ.

    Attributes:
        index: Its place in the test split, from 0.
        truth: Its class.
        teacher: The teacher's answer.
        teacher_probability: How sure it is, a fraction.
        student: The student's answer.
        student_probability: How sure it is.
        png: The image, base64.
    """

    index: int
    truth: str
    teacher: str
    teacher_probability: float
    student: str
    student_probability: float
    png: str


class Answers(Part):
    """What one model answered on the test split.

    Attributes:
        label: The model's row.
        role: What it is.
        ece: Expected calibration error, 15 bins.
        reliability: The filled bins, from low to high confidence.
        confusion: Images of class (row) answered as class (column).
        classes: One row per class.
        agreement: With the teacher; null for the teacher and without one.
        disagreements: Samples, the most confident mistakes first; empty without the images.
    """

    label: str
    role: Literal["teacher", "student", "control"]
    ece: float
    reliability: tuple[ReliabilityBin, ...]
    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[ClassRow, ...] = ()
    agreement: Agreement | None = None
    disagreements: tuple[Disagreement, ...] = ()


class RunReport(Part):
    """One run.

    Attributes:
        folder: Where it lies.
        result: The run's own record.
        class_names: In the order of the logits.
        epochs: The learning curves.
        answers: Teacher, then one student or control per kind (its first seed).
        inputs: Data, teacher and the like by role.
        choices: What the run decided automatically.
        notes: What is left out, and why.
    """

    folder: str
    result: DistillRecord | TrainRecord
    class_names: tuple[str, ...]
    epochs: tuple[EpochRecord, ...]
    answers: tuple[Answers, ...]
    inputs: dict[str, InputRecord]
    choices: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def one_seed(self) -> bool:
        """Whether it is a distillation whose models all have the same seed."""
        return isinstance(self.result, DistillRecord) and self.result.one_seed

    @property
    def rows(self) -> tuple[StudentRow, ...]:
        """Students and controls of a distillation, models of a training."""
        if isinstance(self.result, DistillRecord):
            return self.result.students
        return self.result.models


class ReportRecord(Document):
    """The content of a report.

    Attributes:
        folder: Where report.html and report.md are written.
        version: Of the program.
        runs: In the order asked for.
    """

    newest_schema: ClassVar[int] = 1

    folder: str
    version: str
    runs: tuple[RunReport, ...]
