"""What `compress bench` measured: one row per model file, and the machines behind it."""

from typing import ClassVar, Literal

from compress.errors import InputError
from compress.records.document import Document, Environment, Part

Role = Literal["student", "control", "teacher"]


class Ratio(Part):
    """How many times longer one row takes than another, timed beside it.

    Attributes:
        to: What it is compared with: `NAME precision`, or "ruler".
        value: Mean over processes of the median ratio of paired bursts' lower quartiles.
        low: Lower end of its 99% interval.
        high: Upper end.
        processes: Fresh processes behind the interval; with 1 it holds only what varies inside one.
    """

    to: str
    value: float
    low: float
    high: float
    processes: int


class ModelFile(Part):
    """What is known of a model file without running it.

    Attributes:
        name: Label of the model, unique together with the precision.
        role: A control learned from the labels only.
        precision: fp32, fp16 or int8.
        target: What an INT8 form was made for; null for float.
        sha256: Of the file.
        size_bytes: Of the file.
        parameters: Of the float model it was made from; null for a foreign file.
        macs: Multiply-accumulates of one image, likewise.
        not_timed: Why there are no times.
        not_judged: Why there is no accuracy.
    """

    name: str
    role: Role
    precision: str
    target: str | None = None
    sha256: str
    size_bytes: int
    parameters: int | None
    macs: int | None
    not_timed: str | None = None
    not_judged: str | None = None

    @property
    def label(self) -> str:
        """Name and precision, as messages write it."""
        return f"{self.name} {self.precision}"


class Times(Part):
    """Times of one model file on one machine, one image at a time, in milliseconds.

    All are null where the row was not timed.

    Attributes:
        p10_ms: Tenth percentile of all calls.
        p50_ms: Median.
        p50_low_ms: Lower end of the median's 99% interval between processes.
        p50_high_ms: Upper end.
        p90_ms: Ninetieth percentile; null below 30 samples.
        p90_low_ms: Lower end of its 99% interval.
        p90_high_ms: Upper end.
        p99_ms: For show: 99% confidence in it takes about 270,000 calls. Null below 30 samples.
        samples: Timed calls.
        processes: Fresh processes they come from.
        variation: Coefficient of variation of the bursts' medians.
        unstable: Whether the variation is so large, or the samples so few, that the figures mean
            little.
        images_per_second: One after another.
        load_ms: Opening the session.
        first_inference_ms: The first call after that.
        peak_memory_bytes: Most memory held by a fresh process with this model alone.
        speedup: The teacher's p50 by this row's; null without a teacher, and for it.
        teacher_ratio: Against the teacher.
        fp32_ratio: Against the float32 form of the same model.
        ruler_ratio: Against the fixed graph that ships with the package.
        baseline_ratio: Against the baseline's row, where a gate measured both.
        limit_ms: Least time this machine could take, by its measured peaks.
        limit_ratio: p50_ms by limit_ms.
    """

    p10_ms: float | None = None
    p50_ms: float | None = None
    p50_low_ms: float | None = None
    p50_high_ms: float | None = None
    p90_ms: float | None = None
    p90_low_ms: float | None = None
    p90_high_ms: float | None = None
    p99_ms: float | None = None
    samples: int = 0
    processes: int = 0
    variation: float | None = None
    unstable: bool = False
    images_per_second: float | None = None
    load_ms: float | None = None
    first_inference_ms: float | None = None
    peak_memory_bytes: int | None = None
    speedup: float | None = None
    teacher_ratio: Ratio | None = None
    fp32_ratio: Ratio | None = None
    ruler_ratio: Ratio | None = None
    baseline_ratio: Ratio | None = None
    limit_ms: float | None = None
    limit_ratio: float | None = None


class Difference(Part):
    """Two rows on the same images.

    Attributes:
        to: The other row.
        top1_drop: Its top-1 minus this row's; a fraction.
        low: Lower end of the drop's 95% interval, paired over images.
        high: Upper end.
        p_value: McNemar's exact test that both are equally often right.
    """

    to: str
    top1_drop: float
    low: float
    high: float
    p_value: float


class ClassAccuracy(Part):
    """One class of the test images.

    Attributes:
        name: Its name.
        images: How many there are.
        top1: Share of them recognised; null where there are none.
    """

    name: str
    images: int
    top1: float | None


class Quality(Part):
    """How well one model file answers for the test images. Accuracies are fractions.

    All are null where there were no images; all but the agreement where these had no labels.

    Attributes:
        top1: Share recognised.
        top1_low: Lower end of its 95% Wilson interval.
        top1_high: Upper end.
        top5: Share with the label among the first five; null below six classes.
        ece: Expected calibration error, 15 bins.
        nll: Mean negative log-likelihood, nats.
        agreement: Share of images with the teacher's top-1; null without one, and for it.
        agreement_low: Lower end of its 95% Wilson interval.
        agreement_high: Upper end.
        images: Images behind these figures.
        teacher_difference: Top-1 against the teacher's.
        fp32_difference: Against the float32 form of the same model.
        baseline_difference: Against the baseline's row, where a gate asked both.
        per_class: On request.
    """

    top1: float | None = None
    top1_low: float | None = None
    top1_high: float | None = None
    top5: float | None = None
    ece: float | None = None
    nll: float | None = None
    agreement: float | None = None
    agreement_low: float | None = None
    agreement_high: float | None = None
    images: int = 0
    teacher_difference: Difference | None = None
    fp32_difference: Difference | None = None
    baseline_difference: Difference | None = None
    per_class: tuple[ClassAccuracy, ...] | None = None


class BenchModel(Times, Quality, ModelFile):
    """One model file, its answers and its times."""


class HostRow(Times):
    """Times of one row on another machine.

    Attributes:
        name: The row's name.
        precision: The row's precision.
        not_timed: Why there are no times.
    """

    name: str
    precision: str
    not_timed: str | None = None


class Peaks(Part):
    """What a machine can do at best with the threads it was measured with.

    Attributes:
        fp32_gmacs_per_second: Billions of multiply-accumulates per second in float32.
        int8_gmacs_per_second: The same in unsigned times signed 8 bits.
        bandwidth_gb_per_second: Billions of bytes read per second, by the bytes read repeatedly.
    """

    fp32_gmacs_per_second: float
    int8_gmacs_per_second: float
    bandwidth_gb_per_second: dict[str, float]


class HostTimes(Part):
    """The same files timed on another machine.

    Attributes:
        host: As ssh knows it.
        rows: One per row that was timed there.
        peaks: Of that machine.
        ruler_sha256: The graph behind its `ruler_ratio`s.
        environment: That machine.
    """

    host: str
    rows: tuple[HostRow, ...]
    peaks: Peaks | None = None
    ruler_sha256: str
    environment: Environment


class BenchData(Part):
    """The images behind the accuracies.

    Attributes:
        name: Of the data.
        sha256: Over pixels, labels and class names of the images that were asked.
        images: How many were asked.
        of: How many there are; more than `images` with --limit.
        labelled: Whether they have labels.
        missing_classes: Classes without an image.
    """

    name: str
    sha256: str
    images: int
    of: int
    labelled: bool
    missing_classes: tuple[str, ...] = ()


class BenchRecord(Document):
    """The result of `compress bench`.

    Attributes:
        models: One row per model file: the teacher, then students and controls; candidates in
            order of their latency.
        data: The images asked, at the students' size; null where there were none.
        provider: Execution provider.
        threads: Of each session.
        processes: Fresh processes behind the times; 0 where nothing was timed.
        peaks: Of this machine; null where nothing was timed.
        ruler_sha256: The graph behind every `ruler_ratio`; figures compare only where it is equal.
        hosts: The same files on other machines.
        notes: What was left out, and why.
        seconds: Of the whole measurement.
        environment: This machine.
    """

    newest_schema: ClassVar[int] = 1

    models: tuple[BenchModel, ...]
    data: BenchData | None = None
    provider: str
    threads: int
    processes: int
    peaks: Peaks | None = None
    ruler_sha256: str
    hosts: tuple[HostTimes, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float
    environment: Environment

    def on(self, host: str) -> "BenchRecord":
        """The same rows with the times of another machine in place of this one's.

        Args:
            host: As ssh knows it.

        Raises:
            InputError: Nothing was timed there.
        """
        found = next((one for one in self.hosts if one.host == host), None)
        if found is None:
            known = ", ".join(one.host for one in self.hosts)
            raise InputError(
                f"the record holds no times of {host}",
                hint=f"it holds those of {known}" if known else "bench with --on has them",
            )
        rows = {(row.name, row.precision): row for row in found.rows}

        def timed(model: BenchModel) -> BenchModel:
            row = rows.get((model.name, model.precision))
            why = f"it was not timed on {host}" if row is None else row.not_timed
            times = Times() if row is None else row
            fields = {name: getattr(times, name) for name in Times.model_fields}
            return model.model_copy(update={**fields, "not_timed": why})

        return self.model_copy(
            update={
                "models": tuple(map(timed, self.models)),
                "processes": max((row.processes for row in found.rows), default=0),
                "peaks": found.peaks,
                "ruler_sha256": found.ruler_sha256,
                "hosts": (),
                "environment": found.environment,
            }
        )
