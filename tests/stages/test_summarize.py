"""Means over seeds and the intervals of what a teacher was worth, by hand."""

import math

import numpy as np
import pytest

from compress.config.distill import DistillConfig, plan_students
from compress.config.recipes import build
from compress.records.distill import StudentRow
from compress.stages.summarize import gains_by_image, summarize
from compress.training.results import Finished
from tests.fake_run import student

T_OF_2 = 4.302653
"""97.5% of Student's t with two degrees of freedom, from a printed table."""
TOP1 = (0.90, 0.92, 0.94)
LAST = (0.89, 0.91, 0.90)
GAINS = (0.01, 0.02, 0.06)


def rows(seeds: tuple[int, ...] = (0, 1, 2)) -> list[StudentRow]:
    """A student and its control with the figures above, one of each per seed."""
    taught = [
        student(
            f"small_cnn-kd-s{seed}",
            seed=seed,
            top1=TOP1[place],
            last_top1=LAST[place],
            kd_gain=GAINS[place],
        )
        for place, seed in enumerate(seeds)
    ]
    controls = [
        student(f"small_cnn-control-s{seed}", seed=seed, top1=TOP1[place] - GAINS[place])
        for place, seed in enumerate(seeds)
    ]
    return taught + controls


def gaining(gains: tuple[float, ...]) -> list[StudentRow]:
    """A student with these gains, one per seed."""
    return [student(f"small_cnn-s{s}", seed=s, kd_gain=gain) for s, gain in enumerate(gains)]


def by_image(*, both: int, student_only: int, control_only: int) -> np.ndarray:
    """Gains on images that both get right or wrong, or only one of the two gets right."""
    return np.repeat(np.array([0, 1, -1], np.int8), [both, student_only, control_only])


def test_selected_and_last_epoch_have_a_mean_and_a_spread_over_seeds() -> None:
    (taught, control) = summarize(rows())
    assert (taught.label, taught.role, taught.seeds) == ("small_cnn-kd", "student", 3)
    assert (taught.top1_mean, taught.top1_sd) == pytest.approx((0.92, 0.02))
    assert (taught.last_top1_mean, taught.last_top1_sd) == pytest.approx((0.90, 0.01))
    assert (control.label, control.role) == ("small_cnn-control", "control")
    assert control.top1_mean == pytest.approx((0.89 + 0.90 + 0.88) / 3)
    assert control.top1_sd == pytest.approx(0.01)


def test_the_gain_over_seeds_has_students_t_interval() -> None:
    (taught, control) = summarize(rows())
    spread = math.sqrt((0.02**2 + 0.01**2 + 0.03**2) / 2)
    half = T_OF_2 * spread / math.sqrt(3)
    assert taught.kd_gain_mean == pytest.approx(0.03)
    assert taught.kd_gain_seeds_low == pytest.approx(0.03 - half, abs=1e-6)
    assert taught.kd_gain_seeds_high == pytest.approx(0.03 + half, abs=1e-6)
    assert (taught.kd_gain_low, taught.kd_gain_high) == (
        taught.kd_gain_seeds_low,
        taught.kd_gain_seeds_high,
    )
    assert control.kd_gain_mean is None
    assert control.kd_gain_low is None


def test_the_gain_over_images_has_the_spread_of_its_mean_over_seeds() -> None:
    """Three seeds with the same answers count as one: 300 images won, 100 lost, of 10,000."""
    answers = by_image(both=9_600, student_only=300, control_only=100)
    gains = {f"small_cnn-kd-s{seed}": answers for seed in (0, 1, 2)}
    (taught, _) = summarize(rows(), gains)
    error = math.sqrt((400 / 10_000 - 0.02**2) / 10_000)
    assert taught.kd_gain_images_low == pytest.approx(0.02 - 1.96 * error, abs=2e-4)
    assert taught.kd_gain_images_high == pytest.approx(0.02 + 1.96 * error, abs=2e-4)


def test_other_seeds_on_other_images_narrow_the_interval_over_images() -> None:
    """Where each seed wins and loses its own images, the mean varies less from image to image."""
    answers = by_image(both=9_600, student_only=300, control_only=100)
    gains = {f"small_cnn-kd-s{seed}": np.roll(answers, 3_000 * seed) for seed in (0, 1, 2)}
    (taught, _) = summarize(rows(), gains)
    error = math.sqrt((3 * 400 / 9 / 10_000 - 0.02**2) / 10_000)
    assert taught.kd_gain_images_low == pytest.approx(0.02 - 1.96 * error, abs=2e-4)


@pytest.mark.parametrize("gains", [(0.01, 0.02, 0.03), (0.0199, 0.02, 0.0201)])
def test_the_range_of_a_gain_adds_both_errors_in_quadrature(gains: tuple[float, ...]) -> None:
    """300 images won and 100 lost of 10,000, around a mean gain of 0.02."""
    answers = by_image(both=9_600, student_only=300, control_only=100)
    taught = gaining(gains)
    (summary,) = summarize(taught, {row.label: answers for row in taught})
    over_seeds = T_OF_2 * (gains[2] - gains[1]) / math.sqrt(3)
    over_images = 1.96 * math.sqrt((400 / 10_000 - 0.02**2) / 10_000)
    half = math.sqrt(over_seeds**2 + over_images**2)
    assert summary.kd_gain_low == pytest.approx(0.02 - half, abs=2e-4)
    assert summary.kd_gain_high == pytest.approx(0.02 + half, abs=2e-4)


def test_a_gain_beyond_each_kind_of_noise_may_be_within_both() -> None:
    """Over seeds 0.01 ± 0.0090, over images 0.01 ± 0.0088: together 0.01 ± 0.0126."""
    answers = by_image(both=7_900, student_only=1_100, control_only=1_000)
    taught = gaining((0.01 - 0.003622, 0.01, 0.01 + 0.003622))
    (summary,) = summarize(taught, {row.label: answers for row in taught})
    assert summary.kd_gain_seeds_low == pytest.approx(0.0010, abs=1e-4)
    assert summary.kd_gain_images_low == pytest.approx(0.0012, abs=3e-4)
    assert summary.kd_gain_low == pytest.approx(0.01 - 0.01258, abs=2e-4)


def test_no_range_leaves_what_a_difference_of_shares_can_be() -> None:
    """Two seeds with gains of -0.3 and +0.1: Student's t with one degree of freedom is 12.7."""
    taught = gaining((-0.3, 0.1))
    answers = by_image(both=8_000, student_only=500, control_only=1_500)
    (summary,) = summarize(taught, {row.label: answers for row in taught})
    assert (summary.kd_gain_low, summary.kd_gain_high) == (-1.0, 1.0)
    assert (summary.kd_gain_seeds_low, summary.kd_gain_seeds_high) == (-1.0, 1.0)
    (alone,) = summarize(taught)
    assert (alone.kd_gain_low, alone.kd_gain_high) == (-1.0, 1.0)


def test_one_seed_has_no_spread() -> None:
    assert summarize([row for row in rows() if row.seed == 1]) == ()


def test_the_seed_that_is_left_of_a_student_has_no_spread_and_no_range_over_seeds() -> None:
    """The others diverged; the control has all its seeds."""
    left = [row for row in rows() if row.seed == 1 or "control" in row.label]
    answers = by_image(both=9_600, student_only=300, control_only=100)
    (taught, control) = summarize(left, {left[0].label: answers})
    assert (taught.seeds, taught.top1_mean, taught.top1_sd) == (1, TOP1[1], None)
    assert (taught.last_top1_mean, taught.last_top1_sd) == (LAST[1], None)
    assert (taught.kd_gain_mean, taught.kd_gain_pairs) == (GAINS[1], 1)
    assert (taught.kd_gain_seeds_low, taught.kd_gain_seeds_high) == (None, None)
    error = math.sqrt((400 / 10_000 - 0.02**2) / 10_000)
    assert taught.kd_gain_low == pytest.approx(GAINS[1] - 1.96 * error, abs=2e-4)
    assert (control.seeds, control.kd_gain_pairs) == (3, None)
    assert control.top1_sd is not None


def test_a_seed_whose_control_diverged_is_no_pair() -> None:
    left = rows()
    left[1] = left[1].model_copy(update={"kd_gain": None})
    (taught, _) = summarize([row for row in left if row.label != "small_cnn-control-s1"])
    assert (taught.seeds, taught.kd_gain_pairs) == (3, 2)
    assert taught.kd_gain_mean == pytest.approx((0.01 + 0.06) / 2)
    half = 12.7062 * 0.025  # Student's t with one degree of freedom, the error of two values
    assert taught.kd_gain_low == pytest.approx(0.035 - half, abs=1e-5)


def test_a_label_that_looks_like_a_seed_is_not_taken_for_one() -> None:
    alone = [student("tiny-s0"), student("tiny")]
    assert summarize(alone) == ()


def test_the_gain_on_an_image_is_who_alone_was_right() -> None:
    config = build(DistillConfig, {"student": "small_cnn"})
    labels = np.array([0, 1, 2, 0], np.int64)
    answers = {"small_cnn": [0, 1, 0, 1], "small_cnn-control": [0, 0, 2, 2]}
    plans = plan_students(config)
    finished = [
        Finished(
            student(plan.label), np.zeros((0, 3), np.float32), np.eye(3, dtype=np.float32)[chosen]
        )
        for plan in plans
        for chosen in [answers[plan.label]]
    ]
    gains = gains_by_image(plans, finished, labels)
    assert list(gains) == ["small_cnn"]
    assert gains["small_cnn"].tolist() == [0, 1, -1, 0]
