"""Keeping int8 within its bound with as few float layers as will do."""

from collections.abc import Callable

import pytest
from onnx import ModelProto

from compress.graph import quantize
from compress.progress import Silent
from compress.records.artifact import Fidelity
from compress.stages.export_bound import Outcome, fewest, quantize_within
from tests.graph.conftest import Written, write


@pytest.mark.parametrize("needed", range(1, 30))
def test_the_smallest_count_is_found_in_few_questions(needed: int) -> None:
    asked: list[int] = []

    def holds(count: int) -> bool:
        asked.append(count)
        return count >= needed

    assert fewest(holds, most=29) == needed
    assert len(asked) == len(set(asked)) <= 10


@pytest.mark.parametrize("most", [0, 1, 5, 8])
def test_nothing_is_found_when_even_the_most_does_not_hold(most: int) -> None:
    asked: list[int] = []

    def holds(count: int) -> bool:
        asked.append(count)
        return False

    assert fewest(holds, most=most) is None
    assert max(asked, default=0) == most


@pytest.fixture(scope="module")
def written() -> Written:
    """A small network as a graph."""
    return write("small_cnn")


@pytest.fixture(scope="module")
def calibrated(written: Written) -> quantize.Calibrated:
    return quantize.calibrate(written.graph, written.splits.train.images[:20])


def _search(
    calibrated: quantize.Calibrated, lost: Callable[[set[str]], float], bound: float = 0.01
) -> Outcome:
    """Search with invented accuracies: `lost` says what a set of quantized layers loses."""

    def quantized(model: ModelProto) -> set[str]:
        weights = {t.name for t in model.graph.initializer}
        return {n.removesuffix(".weight_quantized") for n in weights if "weight_quantized" in n}

    def measure(model: ModelProto) -> Fidelity:
        return Fidelity(
            precision="int8",
            reference="fp32",
            split="validation",
            images=100,
            max_difference=0.0,
            agreement=1.0,
            drop=lost(quantized(model)),
        )

    def noise(model: ModelProto) -> float:
        (name,) = quantized(model)
        return {"stage2.0": 5.0, "linear": 10.0, "stage1.0": 15.0}.get(name, 40.0)

    return quantize_within(
        calibrated, target="portable", bound=bound, measure=measure, noise=noise, progress=Silent()
    )


def test_a_graph_within_its_bound_is_taken_whole(calibrated: quantize.Calibrated) -> None:
    found = _search(calibrated, lambda layers: 0.01)
    assert (found.kept, found.noise) == ((), ())
    assert found.model is not None


def test_the_noisiest_layers_go_back_to_float_until_it_holds(
    calibrated: quantize.Calibrated,
) -> None:
    found = _search(calibrated, lambda layers: 0.1 if {"stage2.0", "linear"} & layers else 0.0)
    assert found.kept == ("stage2.0", "linear")
    assert [item.layer for item in found.noise[:3]] == ["stage2.0", "linear", "stage1.0"]
    assert len(found.noise) == 7
    assert found.validation.drop == 0.0


def test_at_most_half_of_the_layers_go_back(calibrated: quantize.Calibrated) -> None:
    found = _search(calibrated, lambda layers: 0.02 * len(layers))
    assert found.model is None
    # of 7 layers 3 may be float: the best try has 4 in integers
    assert found.validation.drop == pytest.approx(0.08)
    assert len(found.noise) == 7


def test_a_gain_is_within_every_bound(calibrated: quantize.Calibrated) -> None:
    assert _search(calibrated, lambda layers: -0.01, bound=0.0).model is not None
