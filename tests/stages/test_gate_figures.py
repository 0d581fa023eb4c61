from typing import Any

import pytest

from compress.records.bench import BenchModel, BenchRecord
from compress.stages import gate_figures
from compress.stages.bench_rows import is_renamed
from compress.stages.gate_figures import Baseline, Finding, Found, Judged, incomparable
from tests.fake_bench import DATA, MACHINE, drop, limits, ratio, record, row


def judged(found: BenchRecord, before: BenchRecord | None = None, **options: Any) -> Judged:
    return Judged(
        limits(**{"min_top1": 0.1, **options}),
        found,
        None
        if before is None
        else Baseline(before, renamed=is_renamed(found.models, before.models)),
    )


def regression(now: BenchModel, before: BenchModel, **changes: Any) -> Finding | None:
    return gate_figures.latency_regression(judged(record(now), record(before, **changes)), now)


def figure(found: Finding | None) -> Found:
    assert isinstance(found, Found), found
    return found


def test_an_accuracy_on_the_whole_split_is_exact() -> None:
    found = figure(gate_figures.top1(judged(record(row())), row()))
    assert (found.low, found.value, found.high) == (0.93, 0.93, 0.93)
    assert "0.9250 to 0.9350" in found.note


def test_an_accuracy_on_a_part_has_its_interval() -> None:
    part = record(row(), data=DATA.model_copy(update={"images": 1000}))
    found = figure(gate_figures.top1(judged(part), row()))
    assert (found.low, found.value, found.high) == (0.925, 0.93, 0.935)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": 29, "of": 29}, "judged by the interval: only 29 test images"),
        ({"missing_classes": ("cat",)}, "judged by the interval: no test images of cat"),
        ({"images": 5000}, "judged by the interval: 5000 of 10000 test images"),
    ],
)
def test_images_that_are_a_sample_give_intervals_and_say_so(
    changes: dict[str, Any], said: str
) -> None:
    part = record(row(), data=DATA.model_copy(update=changes))
    found = figure(gate_figures.top1(judged(part), row()))
    assert (found.low, found.value, found.high, found.note) == (0.925, 0.93, 0.935, said)


def test_thirty_images_of_all_classes_are_a_whole_split() -> None:
    whole = record(row(), data=DATA.model_copy(update={"images": 30, "of": 30}))
    found = figure(gate_figures.top1(judged(whole), row()))
    assert (found.low, found.high) == (0.93, 0.93)


def test_a_difference_of_fractions_is_free_of_rounding() -> None:
    student = row(teacher_difference=drop(0.9339 - 0.9289))
    assert 0.9339 - 0.9289 > 0.005
    assert figure(gate_figures.teacher_drop(judged(record(student)), student)).value == 0.005


def test_without_images_there_is_no_accuracy_and_the_reason_is_the_benchs() -> None:
    student = row(top1=None, agreement=None, images=0, not_judged="cifar10 is in none of x")
    for find in (gate_figures.top1, gate_figures.teacher_drop, gate_figures.agreement):
        assert find(judged(record(student)), student) == "cifar10 is in none of x"


def test_without_a_teacher_nothing_is_compared_with_it() -> None:
    student = row(teacher_difference=None, teacher_ratio=None, agreement=None)
    alone = record(student, models=(student,))
    for find in (gate_figures.teacher_drop, gate_figures.latency_ratio, gate_figures.agreement):
        assert find(judged(alone), student) == (
            "no teacher to compare with: name one with --teacher"
        )


def test_quantization_is_judged_against_fp32_and_fp32_itself_is_not() -> None:
    int8 = row(precision="int8", fp32_difference=drop(0.001, to="small fp32"))
    assert figure(gate_figures.quant_drop(judged(record(int8)), int8)).against == "small fp32"
    assert gate_figures.quant_drop(judged(record(row())), row()) is None
    alone = row(precision="int8")
    assert gate_figures.quant_drop(judged(record(alone)), alone) == (
        "no fp32 form of small to compare with"
    )


def test_the_latency_reference_can_be_the_fp32_form() -> None:
    int8 = row(precision="int8", fp32_ratio=ratio(0.6, to="small fp32"))
    here = judged(record(int8, row()), latency_reference="fp32")
    assert figure(gate_figures.latency_ratio(here, int8)).value == 0.6
    assert gate_figures.latency_ratio(here, row()) is None
    assert figure(gate_figures.latency_ratio(judged(record(int8)), int8)).value == 0.25


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"p50_ms": None, "not_timed": "made for vnni"}, "latency not measured: made for vnni"),
        ({"p90_ms": None, "samples": 12}, "only 12 calls"),
        ({"processes": 2}, "measured in 2 processes, 5 are needed"),
    ],
)
def test_times_that_say_little_are_not_judged(changes: dict[str, Any], said: str) -> None:
    student = row(**changes)
    finding = gate_figures.p90(judged(record(student)), student)
    assert isinstance(finding, str)
    assert said in finding


def test_a_ratio_from_one_process_is_not_judged() -> None:
    student = row(teacher_ratio=ratio(0.25, processes=1))
    assert gate_figures.latency_ratio(judged(record(student)), student) == (
        "measured in 1 process, 5 are needed: raise --max-seconds"
    )


def test_a_size_is_in_kibibytes() -> None:
    found = figure(gate_figures.size(judged(record(row())), row()))
    assert (found.low, found.value, found.high) == (300, 300, 300)


def test_a_measured_baseline_is_paired() -> None:
    student = row(baseline_ratio=ratio(1.02, to="baseline:small fp32"))
    here = Judged(limits(min_top1=0.1), record(student), Baseline())
    found = figure(gate_figures.latency_regression(here, student))
    assert (found.value, found.against) == (1.02, "baseline:small fp32")


def test_records_are_compared_through_the_ruler_with_both_errors() -> None:
    found = figure(
        regression(row(ruler_ratio=ratio(2.2, width=0.03)), row(ruler_ratio=ratio(2.0, width=0.04)))
    )
    assert found.value == pytest.approx(1.1)
    # independent errors of 3% and 4% add up to 5%
    assert found.low == pytest.approx(1.1 * 0.95, rel=0.005)
    assert found.high == pytest.approx(1.1 * 1.05, rel=0.005)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"environment": MACHINE.model_copy(update={"cpu": "Other"})}, "another machine (Other"),
        (
            {"environment": MACHINE.model_copy(update={"packages": {"onnxruntime": "1.20"}})},
            "another runtime (onnxruntime 1.20",
        ),
        ({"threads": 2}, "other settings"),
        ({"provider": "CUDAExecutionProvider"}, "other settings"),
        ({"ruler_sha256": "q"}, "another ruler"),
        ({"data": None}, "other data (none"),
        (
            {"data": DATA.model_copy(update={"name": "cifar100", "sha256": "e" * 64})},
            "other data (cifar100, this is cifar10): name the same with --data",
        ),
    ],
)
def test_times_of_another_machine_runtime_or_dataset_are_refused(
    change: dict[str, Any], said: str
) -> None:
    finding = regression(row(), row(), **change)
    assert isinstance(finding, str)
    assert said in finding


def test_accuracy_and_size_of_another_machine_are_compared() -> None:
    before = record(
        row(top1=0.94), environment=MACHINE.model_copy(update={"cpu": "Other", "packages": {}})
    )
    found = figure(gate_figures.top1_regression(judged(record(row()), before), row()))
    assert found.value == found.high == 0.01


def test_accuracy_on_other_images_is_not_compared() -> None:
    before = record(row(), data=DATA.model_copy(update={"sha256": "e" * 64}))
    assert gate_figures.top1_regression(judged(record(row()), before), row()) == (
        "the baseline was measured on other images (cifar10)"
    )


def test_without_a_baseline_there_is_no_regression() -> None:
    for find in (gate_figures.top1_regression, gate_figures.latency_regression):
        assert find(judged(record(row())), row()) == "no --baseline to compare with"


def test_a_renamed_student_is_compared_when_it_can_only_be_that_one() -> None:
    now = row("fresh")
    assert figure(regression(now, row("stale"))).against == "stale fp32 in the baseline"
    finding = gate_figures.latency_regression(
        judged(record(now), record(row("stale"), row("other"))), now
    )
    assert finding == "the baseline has no times of fresh fp32"


def test_equal_settings_of_one_machine_compare() -> None:
    assert incomparable(record(row()), record(row("b"))) == ""


@pytest.mark.parametrize("change", [{"name": "./cifar10"}, {"sha256": "e" * 64, "images": 500}])
def test_the_same_data_by_another_name_or_in_part_compare(change: dict[str, Any]) -> None:
    assert incomparable(record(row()), record(row(), data=DATA.model_copy(update=change))) == ""


def test_classes_without_images_are_said_with_the_figure() -> None:
    names = tuple(f"c{number}" for number in range(10))
    data = DATA.model_copy(update={"missing_classes": names})
    found = figure(gate_figures.top1(judged(record(row(), data=data)), row()))
    assert found.note == (
        "judged by the interval: "
        "no test images of c0, c1, c2, c3, c4, c5, c6, c7 and 2 more classes"
    )


def test_a_form_of_the_baseline_that_was_not_measured_is_not_called_absent() -> None:
    now = row()
    there, gone = (
        Judged(limits(min_top1=0.1), record(now), Baseline(rows=rows)) for rows in ((row(),), ())
    )
    assert gate_figures.latency_regression(there, now) == (
        f"{now.label} of the baseline was not timed: see the notes"
    )
    assert gate_figures.top1_regression(there, now) == (
        f"{now.label} of the baseline was not asked: see the notes"
    )
    for find in (gate_figures.latency_regression, gate_figures.top1_regression):
        assert find(gone, now) == f"the baseline has no {now.label}"


def test_what_the_baseline_lacks_is_said_before_what_was_not_timed() -> None:
    now = row(p50_ms=None)
    lacking = Judged(limits(min_top1=0.1), record(now), Baseline())
    assert gate_figures.latency_regression(lacking, now) == f"the baseline has no {now.label}"


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("NVIDIA T4", "NVIDIA T4", ""),
        ("NVIDIA T4", "NVIDIA A10", "another GPU"),
        (None, None, "one that is not known (unknown, this is unknown)"),
    ],
)
def test_times_of_a_gpu_compare_with_those_of_the_same_alone(
    before: str | None, now: str | None, said: str
) -> None:
    def of(accelerator: str | None) -> BenchRecord:
        machine = MACHINE.model_copy(update={"accelerator": accelerator})
        return record(row(), provider="CUDAExecutionProvider", environment=machine)

    found = incomparable(of(now), of(before))
    assert said in found
    assert bool(found) == bool(said)


def test_accelerators_that_nobody_can_name_compare() -> None:
    one, other = (record(row(), provider="CoreMLExecutionProvider") for _ in range(2))
    assert incomparable(one, other) == ""
