"""Figures from logits, against hand values, scipy and scikit-learn."""

import math

import numpy as np
import pytest
from scipy import special, stats
from sklearn import metrics

from compress import evaluate
from compress.errors import UnusableError

LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [5.0, 5.0, 5.0], [1.0, 2.0, 3.0]])
LABELS = np.array([0, 2, 1, 2])


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray]:
    """Logits of 500 images over 7 classes, right more often than not."""
    generator = np.random.default_rng(0)
    labels = generator.integers(7, size=500)
    logits = generator.normal(size=(500, 7))
    logits[np.arange(500), labels] += 1.5
    return logits.astype(np.float32), labels


def test_softmax_is_that_of_scipy(answers):
    logits = answers[0]
    np.testing.assert_allclose(evaluate.softmax(logits), special.softmax(logits, 1), rtol=1e-6)
    expected = special.log_softmax(logits.astype(np.float64), 1)
    np.testing.assert_allclose(evaluate.log_softmax(logits), expected, rtol=1e-12)


def test_softmax_of_large_logits_stays_finite():
    np.testing.assert_allclose(evaluate.softmax([[1e4, 0.0]]), [[1.0, 0.0]])
    np.testing.assert_allclose(evaluate.log_softmax([[-1e4, 0.0]]), [[-1e4, 0.0]])


def test_top1_counts_the_first_of_equal_logits():
    # Right, wrong, wrong (class 0 comes first among equals), right.
    assert evaluate.top1(LOGITS, LABELS) == 0.5


def test_topk_counts_the_first_of_equal_logits():
    assert evaluate.topk(LOGITS, LABELS, 2) == 1.0
    assert evaluate.topk(LOGITS, np.array([2, 0, 2, 0]), 2) == 0.0
    assert evaluate.topk(LOGITS, np.array([2, 0, 2, 0]), 3) == 1.0


@pytest.mark.parametrize("k", [1, 2, 5])
def test_topk_is_that_of_scikit_learn(answers, k):
    logits, labels = answers
    expected = metrics.top_k_accuracy_score(labels, logits, k=k)
    assert evaluate.topk(logits, labels, k) == pytest.approx(expected, abs=1e-12)


def test_nll_is_that_of_scikit_learn(answers):
    logits, labels = answers
    expected = metrics.log_loss(labels, special.softmax(logits.astype(np.float64), 1))
    assert evaluate.nll(logits, labels) == pytest.approx(expected, rel=1e-9)


def test_nll_ignores_a_shift_of_the_logits(answers):
    logits, labels = answers
    assert evaluate.nll(logits + 100.0, labels) == pytest.approx(
        evaluate.nll(logits, labels), rel=1e-5
    )


def with_confidence(confidence: list[float]) -> np.ndarray:
    """Two-class logits whose answer is always class 0 with these probabilities."""
    share = np.array(confidence)
    return np.stack([np.log(share), np.log(1 - share)], axis=1)


def test_ece_is_the_weighted_gap_computed_by_hand():
    logits = with_confidence([0.55, 0.58, 0.92, 0.94])
    labels = np.array([0, 1, 0, 0])
    # Bin (0.5, 0.6]: confidence 0.565, accuracy 0.5. Bin (0.9, 1]: confidence 0.93, accuracy 1.
    assert evaluate.ece(logits, labels, bins=10) == pytest.approx(0.5 * 0.065 + 0.5 * 0.07)


def test_reliability_puts_an_upper_edge_in_its_bin():
    table = evaluate.reliability(np.array([[0.0, 0.0]]), np.array([0]), bins=2)
    assert table.counts.tolist() == [1, 0]
    assert table.confidence.tolist() == [0.5, 0.0]
    assert table.accuracy.tolist() == [1.0, 0.0]


def test_reliability_loses_no_image(answers):
    logits, labels = answers
    table = evaluate.reliability(logits, labels, bins=15)
    assert table.counts.sum() == 500
    share = (table.accuracy * table.counts).sum() / 500
    assert share == pytest.approx(evaluate.top1(*answers))


def test_ece_of_certain_right_answers_is_zero():
    assert evaluate.ece(np.array([[1e4, 0.0]]), np.array([0])) == pytest.approx(0.0)


def test_agreement_counts_equal_answers():
    other = LOGITS.copy()
    other[0] = [0.0, 1.0, 0.0]
    assert evaluate.agreement(LOGITS, LOGITS * 3) == 1.0
    assert evaluate.agreement(LOGITS, other) == 0.75


def test_agreement_refuses_different_shapes():
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(4, 2\)"):
        evaluate.agreement(LOGITS, LOGITS[:, :2])


def test_confusion_is_that_of_scikit_learn(answers):
    logits, labels = answers
    expected = metrics.confusion_matrix(labels, logits.argmax(1), labels=range(7))
    np.testing.assert_array_equal(evaluate.confusion(logits, labels, 7), expected)


def test_confusion_keeps_classes_nobody_saw():
    table = evaluate.confusion(LOGITS, LABELS, 3)
    assert table.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]
    assert evaluate.confusion(LOGITS[:1], LABELS[:1], 3).tolist() == [[1, 0, 0], [0] * 3, [0] * 3]


def test_sqnr_of_one_hundredth_of_the_energy_is_20_db():
    assert evaluate.sqnr_db([3.0, 4.0], [3.0, 4.5]) == pytest.approx(20.0)
    assert evaluate.sqnr_db([1.0], [1.0]) == math.inf


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (93, 100), (9339, 10_000), (1, 3)])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_wilson_is_that_of_scipy(successes, n, confidence):
    test = stats.binomtest(successes, n)
    expected = test.proportion_ci(confidence, method="wilson")
    found = evaluate.wilson(successes, n, confidence)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_refuses_what_is_no_share():
    with pytest.raises(ValueError, match="0 of 0"):
        evaluate.wilson(0, 0)
    with pytest.raises(ValueError, match="5 of 4"):
        evaluate.wilson(5, 4)


def paired(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Right answers of two models from the four counts."""
    a = [True] * both + [True] * first + [False] * second + [False] * neither
    b = [True] * both + [False] * first + [True] * second + [False] * neither
    return np.array(a), np.array(b)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (8, 2), (5, 5), (300, 220)])
def test_mcnemar_is_the_binomial_test_of_scipy(first, second):
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    found = evaluate.mcnemar(*paired(40, first, second, 10))
    assert found == pytest.approx(expected, rel=1e-9)


def test_mcnemar_takes_thousands_of_differing_answers():
    expected = stats.binomtest(2_600, 5_000).pvalue
    found = evaluate.mcnemar(*paired(4_000, 2_600, 2_400, 1_000))
    assert found == pytest.approx(expected, rel=1e-9)


def test_paired_interval_is_computed_by_hand():
    low, high = evaluate.paired_interval(*paired(80, 9, 3, 6))
    # 9.5 and 3.5 of 100: difference 0.06, variance (13 - 36 / 100) / 100².
    half = 1.959963984540054 * math.sqrt(13 - 0.36) / 100
    assert (low, high) == pytest.approx((0.06 - half, 0.06 + half))


def test_paired_interval_holds_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    chances, truth = [0.75, 0.09, 0.05, 0.11], 0.04
    draws = 1000
    held = 0
    for counts in generator.multinomial(300, chances, size=draws):
        low, high = evaluate.paired_interval(*paired(*counts))
        held += low <= truth <= high
    # 0.95 within four standard errors of a thousand draws.
    assert abs(held / draws - 0.95) < 4 * math.sqrt(0.95 * 0.05 / draws)


def test_paired_interval_of_equal_answers_is_narrow_and_around_zero():
    right = np.ones(1000, dtype=bool)
    low, high = evaluate.paired_interval(right, right)
    assert -0.003 < low < 0 < high < 0.003


def test_paired_interval_of_shares_is_near_the_t_interval_of_scipy():
    generator = np.random.default_rng(2)
    first = generator.uniform(0.3, 1.0, 4000)
    second = first - generator.uniform(-0.2, 0.3, 4000)
    expected = stats.ttest_rel(first, second).confidence_interval()
    assert evaluate.paired_interval(first, second) == pytest.approx(expected, abs=3e-4)


def test_paired_interval_of_shares_adds_two_images_that_differ_by_one_half_each():
    found = evaluate.paired_interval(np.array([1.0, 0.5, 1.0]), np.array([0.5, 0.5, 0.0]))
    # differences 1/2, 0, 1 and the added: of 5 images, mean 0.3, mean square (1.25 + 1) / 5
    half = 1.959963984540054 * math.sqrt((0.45 - 0.09) / 5)
    assert found == pytest.approx((0.3 - half, 0.3 + half))


@pytest.mark.parametrize(("images", "differing"), [(360, 4), (10_000, 4)])
def test_paired_interval_sees_nothing_in_a_handful_of_images(images, differing):
    """Four images of one kind are as likely as 1 in 8 when both models are equally good."""
    low, high = evaluate.paired_interval(*paired(images - differing, differing, 0, 0))
    assert low < 0 < high


def test_mean_and_sample_deviation():
    assert evaluate.mean_sd([1.0, 2.0, 3.0, 6.0]) == pytest.approx((3.0, math.sqrt(14 / 3)))
    with pytest.raises(ValueError, match="1 values"):
        evaluate.mean_sd([1.0])


@pytest.mark.parametrize("count", [2, 3, 4, 7, 30])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_t_interval_is_that_of_scipy(count, confidence):
    values = np.random.default_rng(count).normal(size=count).tolist()
    expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    found = evaluate.t_interval(values, confidence)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize("figure", [evaluate.top1, evaluate.nll, evaluate.ece])
def test_figures_refuse_answers_that_are_not_numbers(figure):
    broken = LOGITS.copy()
    broken[1, 2] = np.nan
    with pytest.raises(UnusableError, match="1 of 4 images"):
        figure(broken, LABELS)


@pytest.mark.parametrize("figure", [evaluate.top1, evaluate.nll, evaluate.ece])
def test_figures_refuse_labels_of_another_count_or_no_images(figure):
    with pytest.raises(ValueError, match=r"\(4, 3\) and labels \(3,\)"):
        figure(LOGITS, LABELS[:3])
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        figure(LOGITS[:0], LABELS[:0])


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (np.array([[0.0, np.nan]]), True),
        (np.array([[0.0, -np.inf]], dtype=np.float16), True),
        (np.array([[0.0, 1.0]], dtype=np.float32), False),
        (np.array([1, 2]), False),
        (np.array(["red"], dtype=object), False),
        ([{"red": 1.0}], False),
    ],
)
def test_only_floats_can_be_no_numbers(output: object, expected: bool) -> None:
    assert evaluate.has_no_number(output) is expected
