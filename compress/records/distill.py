"""What `compress distill` reports."""

from typing import ClassVar, Literal

from compress.records.document import Part
from compress.records.training import ModelRow, TrainingRecord


class TeacherRow(Part):
    """The teacher beside its students.

    Attributes:
        name: Model name, or "ensemble of N".
        top1: On the test split; a fraction.
        val_top1: On the validation split, which a teacher from outside may have been trained on.
        train_top1: On its training images without augmentation; null where no run here says it.
        ece: Expected calibration error on the test split, 15 bins.
        parameters: Trainable numbers; of all members for an ensemble.
        macs: Multiply-accumulates of one image; of all members for an ensemble.
        foreign: Whether it came from outside and may have seen the validation images.
        weights_sha256: Of the weights file of each member; empty in older records.
        number_format: Of its forward passes over views ("float32", "bfloat16"); null, like what it
            costs, in older records.
        format_agreement: Share of validation images with the float32 top-1.
        format_probability_error: Mean absolute difference of probabilities to float32.
        seconds: Spent on its forward passes, for stored answers and live; of processes that were
            killed up to their last checkpoint. In older records that of the last process alone.
    """

    name: str
    top1: float
    val_top1: float
    train_top1: float | None = None
    ece: float
    parameters: int
    macs: int
    foreign: bool
    weights_sha256: tuple[str, ...] = ()
    number_format: str | None = None
    format_agreement: float | None = None
    format_probability_error: float | None = None
    seconds: float


class StudentRow(ModelRow):
    """One trained student or control. Accuracies are fractions of the test split if not said.

    Attributes:
        top1: Selected epoch.
        top1_low: Lower end of its 95% Wilson interval.
        top1_high: Upper end.
        val_top1: Selected epoch, validation split.
        last_top1: Last epoch.
        train_top1: Selected epoch, training images without augmentation.
        select: Why that epoch was selected: best on validation, or last.
        selected_epoch: From 1.
        kd_gain: top1 minus the control's; null without a control.
        kd_gain_low: Lower end of its 95% interval, paired over test images.
        kd_gain_high: Upper end.
        agreement: Share of test images with the teacher's top-1.
        ece: Expected calibration error, 15 bins.
        nll: Mean negative log-likelihood, nats.
        parameters: Trainable numbers.
        macs: Multiply-accumulates of one image.
        seconds: Its own training and evaluation time.
    """

    top1: float
    top1_low: float
    top1_high: float
    val_top1: float
    last_top1: float
    train_top1: float
    select: Literal["best", "last"] = "best"
    selected_epoch: int
    kd_gain: float | None = None
    kd_gain_low: float | None = None
    kd_gain_high: float | None = None
    agreement: float | None = None
    ece: float
    nll: float
    parameters: int
    macs: int
    seconds: float


class SummaryRow(Part):
    """Students that differ only in their seed; those that diverged are missing.

    Attributes:
        label: Without the seed.
        role: A control learned from the labels only.
        seeds: How many.
        top1_mean: Mean over seeds, test split.
        top1_sd: Standard deviation over seeds (n - 1); null of the one seed that is left.
        last_top1_mean: The same for the last epoch.
        last_top1_sd: Its standard deviation.
        kd_gain_mean: Mean of the paired differences to the control of the same seed.
        kd_gain_pairs: Seeds of which there is a control, too; null in older records, where all had
            one, and without a gain.
        kd_gain_low: Lower end of its range: the errors of both 95% intervals that follow, added
            in quadrature; of one pair, that over images. All ends lie within -1 and 1.
        kd_gain_high: Upper end.
        kd_gain_seeds_low: Lower end of the t interval over seeds; null of one pair.
        kd_gain_seeds_high: Upper end.
        kd_gain_images_low: Lower end of the interval over test images, paired by image; in older
            records a bootstrap's.
        kd_gain_images_high: Upper end.
    """

    label: str
    role: Literal["student", "control"]
    seeds: int
    top1_mean: float
    top1_sd: float | None
    last_top1_mean: float
    last_top1_sd: float | None
    kd_gain_mean: float | None = None
    kd_gain_pairs: int | None = None
    kd_gain_low: float | None = None
    kd_gain_high: float | None = None
    kd_gain_seeds_low: float | None = None
    kd_gain_seeds_high: float | None = None
    kd_gain_images_low: float | None = None
    kd_gain_images_high: float | None = None


class EnsembleRow(Part):
    """The softmax average of the run's students.

    Attributes:
        label: What was averaged.
        members: How many.
        top1: Test split; a fraction.
        top1_low: Lower end of its 95% Wilson interval.
        top1_high: Upper end.
        mean_member_top1: Mean of the members' own.
        gain: top1 minus that mean; null in older records.
        gain_low: Lower end of its 95% interval, paired by image; in older records a bootstrap's.
        gain_high: Upper end.
    """

    label: str
    members: int
    top1: float
    top1_low: float
    top1_high: float
    mean_member_top1: float
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None


class DistillRecord(TrainingRecord):
    """The result of a distillation run.

    Attributes:
        unlabelled_images: How many more the teacher answered; older records have none.
        soft_labels: What the students learned from: "stored" soft labels, a "live" teacher (all
            losses are on its features), or "both"; older records say "live" for both, too.
        teacher: The teacher's row.
        students: Students and controls.
        summary: Over seeds, where there are several.
        ensembles: Averages of students.
    """

    newest_schema: ClassVar[int] = 1

    unlabelled_images: int = 0
    soft_labels: Literal["stored", "live", "both"]
    teacher: TeacherRow
    students: tuple[StudentRow, ...]
    summary: tuple[SummaryRow, ...] = ()
    ensembles: tuple[EnsembleRow, ...] = ()

    @property
    def one_seed(self) -> bool:
        """Whether all its models have the same seed, those included that diverged."""
        seeds = {row.seed for row in (*self.students, *self.diverged)}
        return not self.summary and len(seeds) == 1
