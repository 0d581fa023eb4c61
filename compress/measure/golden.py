"""Golden answers: real images with the outputs expected for them, and the comparison with others.

They let a device team prove that an artifact computes there what it computed where it was made.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import InputError
from compress.files import atomic_path
from compress.records.model_card import PRECISIONS, ModelCard, Precision

MOST_IMAGES = 64
MOST_BYTES = 1 << 20
ENTRY_BYTES = 512
"""Room for each array's header in the file."""

SMALLEST_PROBABILITY = 1e-6
"""Below it a logarithm says nothing that a device would act on."""

STEPS = 4
DIFFERENT_SHARE = 0.1
LEVELS = 255
"""Steps between the lowest and the highest value of eight bits."""

RELATIVE_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 3e-2, "int8": 1e-4}
"""Of the largest logit (at least 1). float32 answers differ between CPUs by about 1e-5 of it,
float16 by up to 1e-2 where one CPU computes in float32 and another in float16."""

Answers = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Golden:
    """Images as the device sees them, their labels, and what each form answered.

    Attributes:
        inputs: (images, …) in the graph's layout and type.
        labels: int64 (images,); empty when the images have none.
        expected: Outputs by name, by precision.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    expected: Mapping[Precision, Answers]


@dataclass(frozen=True)
class Comparison:
    """How the answers of one form differ from the golden ones.

    Attributes:
        images: How many were compared.
        different: Images with any different number, where bits are compared; else with a logit
            (log-probability) beyond the float tolerance.
        top1_different: Images with another best class, ties within the tolerance not counted.
        max_difference: Largest absolute difference of a logit (log-probability) or probability.
        max_steps: The same in quantization steps; None for a float form.
        allowed: What had to hold, in words.
        passed: Whether it did.
    """

    images: int
    different: int
    top1_different: int
    max_difference: float
    max_steps: float | None
    allowed: str
    passed: bool


def how_many(card: ModelCard, forms: int) -> int:
    """How many golden images fit into the file, at least one.

    Args:
        card: Of the model.
        forms: Precisions whose answers are stored.
    """
    pixels = card.image_size**2 * card.channels
    image = pixels * (1 if card.input_layout == "uint8-nhwc" else 4)
    answer = {"logits": 4 * card.classes, "softmax": 4 * card.classes}.get(
        card.output, 12 * (card.top_k or 1)
    )
    room = MOST_BYTES - ENTRY_BYTES * (2 + 2 * forms)
    return max(1, min(MOST_IMAGES, room // (image + 8 + forms * answer)))


def save_golden(path: Path, golden: Golden) -> None:
    """Write golden answers as `.npz`; equal answers make equal bytes.

    Raises:
        InputError: The file cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {"input": golden.inputs, "labels": golden.labels}
    for precision, outputs in golden.expected.items():
        arrays |= {f"{precision}.{name}": values for name, values in outputs.items()}
    with atomic_path(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, values in arrays.items():
            # the time of a member is fixed: 1980, the first that the format can say
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.external_attr = 0o644 << 16
            with archive.open(member, "w") as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(values), allow_pickle=False)


def load_golden(path: Path) -> Golden:
    """Read golden answers; nothing in the file is executed.

    Raises:
        InputError: Missing, truncated, altered, or not golden answers.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path} is damaged: {error}", hint="copy or export it again") from error
    expected: dict[Precision, dict[str, NDArray[Any]]] = {}
    for name, values in arrays.items():
        precision, dot, output = name.partition(".")
        for known in PRECISIONS:
            if dot and precision == known:
                expected.setdefault(known, {})[output] = values
    if "input" not in arrays or "labels" not in arrays or not expected:
        raise InputError(f"{path} holds no golden answers", hint="export again")
    count = len(arrays["input"])
    if any(len(values) != count for part in expected.values() for values in part.values()):
        raise InputError(f"{path}: answers and images differ in number", hint="export again")
    return Golden(arrays["input"], arrays["labels"].astype(np.int64), expected)


def compare(expected: Answers, answers: Answers, card: ModelCard) -> Comparison:
    """Judge the answers of one form by the golden ones.

    Int8 logits must be bit-equal where the graph has no residual adds and no float layers;
    elsewhere the best class must be equal, and at most a tenth of the images may differ, by at
    most four quantization steps. Where the last layer of such a graph computes in float its logits
    are not rounded to steps, so that every small difference before it shows: any number of images
    may differ then, by four of the steps that eight bits would make of the logits' range. Float
    logits must agree within a tolerance. Whatever went through float arithmetic, a softmax too,
    differs only beyond that tolerance.

    Args:
        expected: Outputs by name.
        answers: The same from this machine.
        card: Of the form.

    Raises:
        InputError: The outputs are not those expected.
    """
    if {k: v.shape for k, v in expected.items()} != {k: v.shape for k, v in answers.items()}:
        raise InputError(f"{card.name} answers other outputs than its golden file holds")
    golden, given = _scores(expected, card), _scores(answers, card)
    with np.errstate(invalid="ignore"):  # infinity minus infinity is as bad as NaN
        apart = np.abs(golden - given)
    furthest = np.where(np.isnan(apart), np.inf, apart).max(axis=1, initial=0.0)
    difference = float(furthest.max(initial=0.0))
    tolerance = RELATIVE_TOLERANCE[card.precision] * max(1.0, float(np.abs(golden).max(initial=0)))
    step = card.logit_step if card.precision == "int8" else None
    bitwise = card.exact and card.output == "logits"
    inexact = card.precision == "int8" and not card.exact
    limited = inexact and step is not None
    changed = _altered(expected, answers) if bitwise else furthest > tolerance
    different = int(changed.sum())
    allowed_apart = tolerance
    if inexact:
        # the logarithm of a softmax moves by the logit and by the sum: twice as far
        twice = 1 if card.output == "logits" else 2
        allowed_apart += STEPS * twice * (_range(expected, card) / LEVELS if step is None else step)
    margin = 0.0 if step is not None else 2 * tolerance
    top1 = _top1_different(expected, answers, card, margin)
    passed = different == 0 if bitwise else top1 == 0 and difference <= allowed_apart
    if limited:
        passed = passed and different <= max(1, int(DIFFERENT_SHARE * len(golden)))
    return Comparison(
        images=len(golden),
        different=different,
        top1_different=top1,
        max_difference=difference,
        max_steps=None if step is None or card.output != "logits" else difference / step,
        allowed=_words(card, bitwise=bitwise, inexact=inexact, tolerance=allowed_apart),
        passed=passed,
    )


def _altered(expected: Answers, answers: Answers) -> NDArray[np.bool_]:
    """Which images have any other number, bool (images,)."""
    pairs = [(values, answers[name]) for name, values in expected.items()]
    count = len(pairs[0][0])
    return np.array([any(not np.array_equal(a[k], b[k]) for a, b in pairs) for k in range(count)])


def _range(expected: Answers, card: ModelCard) -> float:
    """From the lowest to the highest logit (logarithm of an answered probability), at least 1."""
    values = next(iter(expected.values())).astype(np.float64)
    if card.output != "logits":
        values = np.log(np.maximum(values, SMALLEST_PROBABILITY))
    return max(1.0, float(np.ptp(values)) if values.size else 0.0)


def _words(card: ModelCard, *, bitwise: bool, inexact: bool, tolerance: float) -> str:
    if bitwise:
        return "bit-equal logits"
    if inexact and card.logit_step is not None:
        return f"equal top-1, within {STEPS} steps on {DIFFERENT_SHARE:.0%} of the images"
    kind = "logits" if card.output == "logits" else "log-probabilities"
    return f"{'equal top-1, ' if inexact else ''}{kind} within {tolerance:.2g}"


def _scores(answers: Answers, card: ModelCard) -> NDArray[np.float64]:
    """Logits, or logarithms of probabilities, float64 (images, …); for top-k of the best class."""
    values = next(iter(answers.values())).astype(np.float64)
    if card.output == "logits":
        return values
    logarithms: NDArray[np.float64] = np.log(np.maximum(values, SMALLEST_PROBABILITY))
    return logarithms if card.output == "softmax" else logarithms[:, :1]


def _top1_different(expected: Answers, answers: Answers, card: ModelCard, margin: float) -> int:
    """Images with another best class, unless both were closer than the margin when expected."""
    if card.output == "top-k":
        # a class that was not among the k best was far from being the best
        ranked = list(expected.values())[1]
        given = list(answers.values())[1][:, :1]
        logarithms = np.log(np.maximum(next(iter(expected.values())), SMALLEST_PROBABILITY))
        found = np.where(ranked == given, logarithms, -np.inf).max(axis=1)
        lead = logarithms[:, 0] - found
        return int((lead > margin).sum())
    golden, other = _scores(expected, card), _scores(answers, card).argmax(axis=1)
    rows = np.arange(len(golden))
    best = golden.argmax(axis=1)
    lead = golden[rows, best] - golden[rows, other]
    return int(((best != other) & (lead > margin)).sum())
