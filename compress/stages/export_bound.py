"""Keeps int8 within its accuracy bound by putting the most sensitive layers back to float."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from compress.graph import quantize
from compress.graph.quantize import Calibrated
from compress.graph.write import layers
from compress.progress import Progress
from compress.records.artifact import Fidelity, LayerNoise
from compress.records.model_card import Target

Measure = Callable[[ModelProto], Fidelity]
Noise = Callable[[ModelProto], float]


@dataclass(frozen=True)
class Outcome:
    """An int8 graph that holds its bound on validation images, or the reason there is none.

    Attributes:
        model: The graph; None when nothing held the bound.
        kept: Layers in float, most sensitive first.
        validation: The last measurement, of `model` or of the best try.
        noise: Every layer's own noise, where it had to be measured.
    """

    model: ModelProto | None
    kept: tuple[str, ...]
    validation: Fidelity
    noise: tuple[LayerNoise, ...] = ()


def quantize_within(
    calibrated: Calibrated,
    *,
    target: Target,
    bound: float,
    measure: Measure,
    noise: Noise,
    progress: Progress,
) -> Outcome:
    """Quantize everything; where that loses too much, keep as few layers in float as will do.

    Layers go back in the order of the noise each makes alone. At most half of them do: beyond
    that it is no int8 model any more.

    Args:
        calibrated: The float graph with its ranges.
        target: The CPUs it is for.
        bound: Largest accuracy drop on validation images, a fraction.
        measure: Fidelity of a graph on validation images.
        noise: SQNR in dB of a graph's logits on some validation images.
        progress: Told what is tried.
    """
    model = quantize.quantize(calibrated, target=target)
    whole = measure(model)
    if _within(whole, bound):
        return Outcome(model, (), whole)
    progress.note(
        f"int8 loses {_points(whole)} points on {whole.images} validation images, "
        f"{100 * bound:.2f} are allowed: looking for the layers that cause it"
    )
    ranked = _rank(calibrated, target=target, noise=noise, progress=progress)
    order = [item.layer for item in ranked]
    tried: dict[int, tuple[ModelProto, Fidelity]] = {}

    def holds(count: int) -> bool:
        if count not in tried:
            candidate = quantize.quantize(calibrated, target=target, keep_float=order[:count])
            tried[count] = candidate, measure(candidate)
        return _within(tried[count][1], bound)

    count = fewest(holds, most=len(order) // 2)
    if count is None:
        best = min([whole, *(found for _, found in tried.values())], key=_drop)
        return Outcome(None, (), best, tuple(ranked))
    model, found = tried[count]
    return Outcome(model, tuple(order[:count]), found, tuple(ranked))


def fewest(holds: Callable[[int], bool], *, most: int) -> int | None:
    """The smallest count from 1 that holds, taking it that more never hold less.

    Doubles until one holds, then halves the gap: about 2 log2(count) questions.

    Args:
        holds: Whether a count is enough.
        most: The largest count to try; it is tried before giving up.

    Returns:
        None when not even `most` holds.
    """
    low, high = 0, 1
    while high <= most and not holds(high):
        low, high = high, high * 2
    if high > most:
        if low >= most or most < 1 or not holds(most):
            return None
        high = most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _rank(
    calibrated: Calibrated, *, target: Target, noise: Noise, progress: Progress
) -> Sequence[LayerNoise]:
    """Every layer with the SQNR of the logits when it alone is quantized, worst first."""
    names = layers(calibrated.model)
    progress.start("noise of each layer", total=len(names), unit="layer")
    found = []
    for name in names:
        alone = quantize.quantize(calibrated, target=target, only=[name])
        found.append(LayerNoise(layer=name, sqnr_db=noise(alone)))
        progress.advance()
    progress.finish()
    return sorted(found, key=lambda item: item.sqnr_db)


def _drop(fidelity: Fidelity) -> float:
    """The accuracy lost; without labels, the share of changed answers."""
    return 1 - fidelity.agreement if fidelity.drop is None else fidelity.drop


def _within(fidelity: Fidelity, bound: float) -> bool:
    return _drop(fidelity) <= bound


def _points(fidelity: Fidelity) -> str:
    return f"{100 * _drop(fidelity):.2f}"
