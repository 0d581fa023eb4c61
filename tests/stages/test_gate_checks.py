from typing import Any

import pytest

from compress.config.gate import THRESHOLDS
from compress.records.bench import BenchModel
from compress.records.gate import Check
from compress.stages.gate_checks import RULES, judge, option
from compress.stages.gate_figures import Baseline
from tests.fake_bench import drop, limits, ratio, record, row


def check(model: BenchModel, **thresholds: Any) -> Check:
    found = record(model)
    (only,) = judge(limits(**thresholds), found, [model], baseline=Baseline())
    return only


def test_every_threshold_has_its_rule() -> None:
    assert set(RULES) == set(THRESHOLDS)


@pytest.mark.parametrize(
    ("name", "passing", "failing"),
    [
        ("min_top1", 0.93, 0.9301),
        ("max_top1_drop", 0.004, 0.0039),
        ("min_agreement", 0.95, 0.951),
        ("max_size_kib", 300, 299.9),
        ("max_latency_ratio", 0.26, 0.24),
        ("max_p90_ms", 1.26, 1.1),
        ("max_latency_regression", 0.04, 0.005),
        ("max_top1_regression", 0.002, 0.0019),
    ],
)
def test_each_limit_divides_what_passes_from_what_fails(
    name: str, passing: float, failing: float
) -> None:
    model = row(baseline_ratio=ratio(1.02, to="b"), baseline_difference=drop(0.002, to="b"))
    assert check(model, **{name: passing}).outcome == "pass"
    assert check(model, **{name: failing}).outcome == "fail"


def test_a_share_copied_from_a_bench_as_a_limit_is_met() -> None:
    """355 of 360 has more digits than figures are rounded to."""
    share = 355 / 360
    top1 = row(top1=share, top1_low=share - 0.01, top1_high=share + 0.01)
    assert check(top1, min_top1=share).outcome == "pass"
    assert check(top1, min_top1=share + 1e-6).outcome == "fail"
    lost = row(teacher_difference=drop(1 / 360))
    assert check(lost, max_top1_drop=1 / 360).outcome == "pass"
    assert check(lost, max_top1_drop=1 / 360 - 1e-6).outcome == "fail"


def test_an_interval_that_holds_the_limit_cannot_tell() -> None:
    result = check(row(), max_latency_ratio=0.25)
    assert result.outcome == "inconclusive"
    assert result.reason == (
        "latency 0.250x (0.247x to 0.253x) against big fp32, at most 0.250x allowed; "
        "the interval holds the limit"
    )


def test_a_check_says_what_was_measured_and_what_was_required() -> None:
    result = check(row(), min_top1=0.94)
    assert (result.name, result.row, result.unit) == ("min-top1", "small fp32", "fraction")
    assert (result.value, result.low, result.high, result.limit) == (0.93, 0.93, 0.93, 0.94)
    assert result.reason.startswith("top-1 0.9300, at least 0.9400 required")


def test_an_allowed_growth_is_a_factor_above_one() -> None:
    assert check(row(baseline_ratio=ratio(1.02)), max_latency_regression=0.05).limit == 1.05


def test_what_could_not_be_measured_is_inconclusive_with_its_reason() -> None:
    result = check(row(top1=None, not_judged="no images"), min_top1=0.9)
    assert (result.outcome, result.reason, result.value) == ("inconclusive", "no images", None)


def test_a_threshold_that_no_row_falls_under_is_inconclusive() -> None:
    result = check(row(), max_quant_drop=0.01)
    assert (result.outcome, result.row) == ("inconclusive", "")
    assert result.reason == "there is no row to compare"


def test_a_form_that_is_not_there_is_inconclusive_where_the_limit_applies_to_it() -> None:
    config = limits(min_top1=0.9, max_quant_drop=0.1, max_latency_ratio=1, latency_reference="fp32")
    absent = [("small", "fp32"), ("other", "int8")]
    checks = judge(config, record(), [], baseline=None, absent=absent)
    assert [(one.name, one.row, one.outcome, one.reason) for one in checks] == [
        ("min-top1", "small fp32", "inconclusive", "small has no fp32 form"),
        ("min-top1", "other int8", "inconclusive", "other has no int8 form"),
        ("max-quant-drop", "other int8", "inconclusive", "other has no int8 form"),
        ("max-latency-ratio", "other int8", "inconclusive", "other has no int8 form"),
    ]


def test_every_threshold_is_applied_to_every_row() -> None:
    models = [row(), row(precision="int8")]
    checks = judge(limits(min_top1=0.9, max_size_kib=1000), record(*models), models, baseline=None)
    assert [(one.name, one.row) for one in checks] == [
        ("min-top1", "small fp32"),
        ("min-top1", "small int8"),
        ("max-size-kib", "small fp32"),
        ("max-size-kib", "small int8"),
    ]


def test_only_the_thresholds_asked_for_are_applied() -> None:
    config = limits(min_top1=0.9, max_p90_ms=5)
    checks = judge(config, record(row()), [row()], baseline=None, names=["max_p90_ms"])
    assert [one.name for one in checks] == ["max-p90-ms"]


def test_a_threshold_is_named_like_its_option() -> None:
    assert option("max_top1_drop") == "max-top1-drop"
