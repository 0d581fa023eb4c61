"""How good answers are: accuracy, calibration and agreement, and how sure one can be of them.

Everything works on logits as NumPy arrays, so that PyTorch's and ONNX Runtime's are judged by the
same code. Fractions are 0 to 1, logarithms natural, sums in float64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from compress.errors import UnusableError

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def log_softmax(logits: ArrayLike) -> Floats:
    """Logarithms of class probabilities: float64 (images, classes) from logits of that shape."""
    values = np.asarray(logits, dtype=np.float64)
    shifted = values - values.max(axis=-1, keepdims=True)
    normalized: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalized


def softmax(logits: ArrayLike) -> Floats:
    """Class probabilities, rows summing to 1: float64 (images, classes) from logits."""
    return np.exp(log_softmax(logits))


def top1(logits: ArrayLike, labels: Labels) -> float:
    """Share of images whose largest logit is that of their class; the first of equals counts.

    Args:
        logits: (images, classes), any float type.
        labels: int64 (images,).

    Raises:
        ValueError: Shapes do not fit, or there are no images.
        UnusableError: A logit is not a number.
    """
    return topk(logits, labels, 1)


def topk(logits: ArrayLike, labels: Labels, k: int) -> float:
    """Share of images whose class is among the k largest logits; of equals the first count.

    Args:
        logits: (images, classes), any float type.
        labels: int64 (images,).
        k: How many answers an image has, from 1.

    Raises:
        ValueError: Shapes do not fit, there are no images, or k is below 1.
        UnusableError: A logit is not a number.
    """
    if k < 1:
        raise ValueError(f"k is {k}, not 1 or more")
    values = _checked(logits, labels)
    own = values[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(values.shape[1]) < labels[:, None]
    rank = ((values > own) | ((values == own) & earlier)).sum(axis=1)
    return float((rank < k).mean())


def nll(logits: ArrayLike, labels: Labels) -> float:
    """Mean negative log-likelihood of the classes (cross-entropy), in nats; errors as in `top1`."""
    values = _checked(logits, labels)
    return float(-log_softmax(values)[np.arange(len(labels)), labels].mean())


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and accuracy of answers, grouped by confidence.

    Attributes:
        edges: float64 (bins + 1,), from 0 to 1; a bin holds its upper edge, not its lower.
        counts: int64 (bins,), images in each bin.
        confidence: float64 (bins,), mean probability of their answers; 0 in empty bins.
        accuracy: float64 (bins,), share of right answers among them; 0 in empty bins.
    """

    edges: Floats
    counts: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error: mean of |accuracy - confidence|, weighted by images."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float((self.counts * gaps).sum() / self.counts.sum())


def reliability(logits: ArrayLike, labels: Labels, bins: int = 15) -> Reliability:
    """Group answers into bins of equal width by the probability of the chosen class.

    Args:
        logits: (images, classes), any float type.
        labels: int64 (images,).
        bins: How many.

    Raises:
        ValueError: Shapes do not fit, or there are no images.
        UnusableError: A logit is not a number.

    Source:
        Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
        section 2.
    """
    values = _checked(logits, labels)
    probabilities = softmax(values)
    sure = probabilities.max(axis=1)
    right = values.argmax(axis=1) == labels
    edges = np.linspace(0.0, 1.0, bins + 1)
    number = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    counts = np.bincount(number, minlength=bins)
    filled = np.maximum(counts, 1)
    return Reliability(
        edges,
        counts,
        np.bincount(number, weights=sure, minlength=bins) / filled,
        np.bincount(number, weights=right, minlength=bins) / filled,
    )


def ece(logits: ArrayLike, labels: Labels, bins: int = 15) -> float:
    """Expected calibration error; see `reliability`."""
    return reliability(logits, labels, bins).ece


def agreement(first: ArrayLike, second: ArrayLike) -> float:
    """Share of images to which two models give the same answer.

    Args:
        first: Logits (images, classes).
        second: Logits of the same shape.

    Raises:
        ValueError: Shapes differ, or there are no images.
        UnusableError: A logit is not a number.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape:
        raise ValueError(f"logits {a.shape} and {b.shape} are not of one shape")
    nowhere = np.zeros(len(a), dtype=np.int64)
    return float((_checked(a, nowhere).argmax(1) == _checked(b, nowhere).argmax(1)).mean())


def confusion(logits: ArrayLike, labels: Labels, classes: int) -> NDArray[np.int64]:
    """How often each class (row) was answered with each class (column).

    Args:
        logits: (images, classes), any float type.
        labels: int64 (images,).
        classes: How many classes there are.

    Returns:
        int64 (classes, classes), summing to the number of images.

    Raises:
        ValueError: Shapes do not fit, or there are no images.
        UnusableError: A logit is not a number.
    """
    answers = _checked(logits, labels).argmax(axis=1)
    cells = np.bincount(labels * classes + answers, minlength=classes * classes)
    return cells.reshape(classes, classes)


def sqnr_db(reference: ArrayLike, other: ArrayLike) -> float:
    """Signal to quantization noise, 10 log10(sum reference² / sum (reference - other)²), in dB.

    Infinite where both are equal.

    Raises:
        ValueError: Shapes differ.
    """
    a, b = np.asarray(reference, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"arrays {a.shape} and {b.shape} are not of one shape")
    signal, noise = float((a**2).sum()), float(((a - b) ** 2).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for a share of which `successes` of `n` were seen: one accuracy.

    Raises:
        ValueError: `n` is 0, or `successes` is not between 0 and `n`.

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is no share")
    z = _normal_quantile(confidence)
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Exactly 0 or 1 where nothing or everything was seen: rounding must not say otherwise.
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == n else middle + half
    return low, high


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> float:
    """How likely two equally good models are to differ this much on the same images.

    The exact two-sided test: of the images that only one of the two gets right, each is as likely
    the first's as the second's.

    Args:
        first_right: bool (images,), which images the first model gets right.
        second_right: bool (images,), the same of the second.

    Returns:
        The p-value, 0 to 1; 1 where no image tells them apart.

    Raises:
        ValueError: Shapes differ, or there are no images.

    Source:
        McNemar, "Note on the sampling error of the difference between correlated proportions or
        percentages", 1947, with binomial probabilities.
    """
    only_first, only_second, _ = _discordant(first_right, second_right)
    apart = only_first + only_second
    term = total = 1  # whole numbers: 2**10000 is no float
    for k in range(min(only_first, only_second)):
        term = term * (apart - k) // (k + 1)
        total += term
    return min(1.0, float(2 * total / 2**apart))


def paired_interval(
    first: ArrayLike, second: ArrayLike, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval for the mean of first - second over the same images: one accuracy minus another.

    Args:
        first: (images,), which images the first model gets right; or how right it is, 0 to 1, such
            as the share of several models that are.
        second: (images,), the same of the second.
        confidence: How often such an interval holds the true difference.

    Returns:
        Lower and upper end, -1 to 1.

    Raises:
        ValueError: Shapes differ, or there are no images.

    Source:
        Agresti and Min, "Simple improved confidence intervals for comparing matched proportions",
        2005: the usual interval after half an image is added to each of the four outcomes. For
        shares, the same images are added: two halves that differ by nothing, one half each by 1
        and by -1.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    _check_images(a, b)
    differences, n = a - b, len(a) + 2
    mean = float(differences.sum()) / n
    variance = (float((differences**2).sum()) + 1) / n - mean**2
    half = _normal_quantile(confidence) * math.sqrt(variance / n)
    return max(-1.0, mean - half), min(1.0, mean + half)


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1).

    Raises:
        ValueError: There are fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no spread")
    return fmean(values), stdev(values)


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval for the mean of what the values are drawn from.

    For paired differences over seeds: give the differences.

    Args:
        values: Two or more.
        confidence: How often such an interval holds the true mean.

    Raises:
        ValueError: There are fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no spread")
    middle = fmean(values)
    half = _t_quantile(confidence, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return middle - half, middle + half


def has_no_number(output: object) -> bool:
    """Whether floats that a model gave hold NaN or infinity; what is made of others has no such.

    Args:
        output: Any output of a model: an array of any type and shape, or no array.
    """
    return (
        isinstance(output, np.ndarray)
        and np.issubdtype(output.dtype, np.floating)
        and not np.isfinite(output).all()
    )


def _checked(logits: ArrayLike, labels: Labels) -> NDArray[np.floating]:
    values: NDArray[np.floating] = np.asarray(logits)
    if values.ndim != 2 or labels.shape != values.shape[:1] or not len(labels):
        raise ValueError(f"logits {values.shape} and labels {labels.shape} do not fit together")
    if np.isnan(values).any():
        broken = int(np.isnan(values).any(axis=1).sum())
        raise UnusableError(f"the answers to {broken} of {len(values)} images are not numbers")
    return values


def _discordant(first_right: ArrayLike, second_right: ArrayLike) -> tuple[int, int, int]:
    """Images only the first gets right, images only the second does, and all images."""
    a, b = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    _check_images(a, b)
    return int((a & ~b).sum()), int((b & ~a).sum()), len(a)


def _check_images(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"answers {a.shape} and {b.shape} are not those to the same images")


def _normal_quantile(confidence: float) -> float:
    """What a standard normal value stays within, both ways, with this probability."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _t_quantile(confidence: float, freedom: int) -> float:
    """What Student's t stays within, both ways, with this probability; found by bisection."""
    low = high = _normal_quantile(confidence)
    while _t_within(high, freedom) < confidence:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        if _t_within(middle, freedom) < confidence:
            low = middle
        else:
            high = middle
    return high


def _t_within(t: float, freedom: int) -> float:
    """P(|T| <= t) for Student's t with a whole number of degrees of freedom.

    Source:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2 == 1
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(1 if odd else 0, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (k + 1) / (k + 2)
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
