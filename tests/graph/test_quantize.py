"""Int8 graphs are int8 where they run, and exact where they claim to be."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

from compress import runtime
from compress.graph import quantize
from compress.graph.write import layers, seal, write_graph
from tests.graph.conftest import Written


def weights(model: ModelProto) -> dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.int8]]"]:
    """Quantized weights by name."""
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name.endswith("weight_quantized")
    }


def scales(model: ModelProto, name: str) -> int:
    """How many scales a tensor has."""
    found = next(t for t in model.graph.initializer if t.name == name)
    return int(np.prod(found.dims))


@pytest.mark.parametrize(("target", "bits"), [("portable", 7), ("vnni", 8), ("arm64", 8)])
def test_weights_keep_the_bits_of_the_target(
    calibrated: quantize.Calibrated, target: str, bits: int
) -> None:
    model = quantize.quantize(calibrated, target=target)  # type: ignore[arg-type]
    largest = max(int(np.abs(values.astype(int)).max()) for values in weights(model).values())
    assert largest == 2 ** (bits - 1) - (bits == 8) or largest == 2 ** (bits - 1)
    assert quantize.WEIGHT_BITS[target] == bits  # type: ignore[index]


def test_portable_weights_cannot_overflow_sixteen_bits(calibrated: quantize.Calibrated) -> None:
    # U8S8 on AVX2 adds two products of an unsigned byte and a weight in a signed 16-bit number
    model = quantize.quantize(calibrated, target="portable")
    for values in weights(model).values():
        assert 2 * 255 * int(np.abs(values.astype(int)).max()) < 2**15


def test_every_output_channel_has_its_own_scale(calibrated: quantize.Calibrated) -> None:
    model = quantize.quantize(calibrated, target="portable")
    assert scales(model, "stage1.0.weight_scale") == 32
    assert scales(model, "linear.weight_scale") == 10


def test_preprocessing_stays_in_float(calibrated: quantize.Calibrated) -> None:
    assert quantize.preprocessing(calibrated.model)[0].startswith("transpose")
    model = quantize.quantize(calibrated, target="portable")
    kinds = [node.op_type for node in model.graph.node[:5]]
    assert kinds == ["Transpose", "Cast", "Mul", "Add", "QuantizeLinear"]


class Sure(nn.Module):
    """An ensemble of twice the same classifier, four times as sure of itself."""

    def __init__(self, member: nn.Module) -> None:
        super().__init__()
        self.member = member

    def forward(self, images: Tensor) -> Tensor:
        share = torch.softmax(4 * self.member(images), dim=1)
        return torch.log(torch.stack([share, share]).mean(dim=0).clamp_min(1e-30))


def test_an_ensemble_averages_in_float(small_cnn: Written) -> None:
    """Of probabilities in 8 bits, all below 1/510 would be 0, and their logits -69."""
    size = small_cnn.splits.image_size
    graph = write_graph(Sure(small_cnn.classifier), layout="uint8-nhwc", image_size=size)
    assert quantize.averaging(small_cnn.graph) == []
    assert quantize.averaging(graph)
    calibrated = quantize.calibrate(graph, small_cnn.splits.train.images[:100])
    model = quantize.quantize(calibrated, target="portable")
    assert quantize.logit_step(model) is None
    images = small_cnn.images[:100]
    full, low = (
        runtime.logits(runtime.open_session(seal(each, card)), card, images)
        for each, card in ((graph, small_cnn.card), (model, small_cnn.changed(precision="int8")))
    )
    assert full.min() < -20  # below what 8 bits could tell
    assert np.abs(full - low).max() < 0.1 * np.ptp(full)


def test_no_layer_is_left_in_float_on_this_cpu(
    small_cnn: Written, calibrated: quantize.Calibrated
) -> None:
    card = small_cnn.changed(precision="int8")
    left, integers = quantize.float_layers(
        seal(quantize.quantize(calibrated, target="portable"), card)
    )
    assert (left, integers) == ([], 7)


def test_layers_left_in_float_are_named(
    small_cnn: Written, calibrated: quantize.Calibrated
) -> None:
    kept = ["stage2.0", "linear"]
    model = quantize.quantize(calibrated, target="portable", keep_float=kept)
    left, integers = quantize.float_layers(seal(model, small_cnn.changed(precision="int8")))
    # onnxruntime quantizes such layers again by itself unless it is kept from it
    assert sorted(left) == sorted(kept)
    assert integers == 5


def test_keeping_a_layer_in_float_changes_nothing_else(
    small_cnn: Written, calibrated: quantize.Calibrated
) -> None:
    from onnx.reference import ReferenceEvaluator

    model = quantize.quantize(calibrated, target="portable", keep_float=["stage2.0"])
    card = small_cnn.changed(precision="int8", kept_float=1)
    data = seal(model, card)
    newer = onnx.load_model_from_string(data)
    newer.opset_import[0].version = 19
    step = quantize.logit_step(model)
    image = small_cnn.images[:1]
    given = runtime.open_session(data).run(None, {"image": image})[0]
    expected = ReferenceEvaluator(newer).run(None, {"image": image})[0]
    np.testing.assert_allclose(given, expected, atol=2.01 * (step or 0))


def test_one_layer_alone_can_be_quantized(
    small_cnn: Written, calibrated: quantize.Calibrated
) -> None:
    model = quantize.quantize(calibrated, target="portable", only=["stage2.3"])
    assert list(weights(model)) == ["stage2.3.weight_quantized"]
    left, integers = quantize.float_layers(seal(model, small_cnn.changed(precision="int8")))
    assert len(left) == 6
    assert integers == 1


def test_the_calibrated_graph_is_left_as_it_was(calibrated: quantize.Calibrated) -> None:
    before = calibrated.model.SerializeToString(deterministic=True)
    quantize.quantize(calibrated, target="portable")
    assert calibrated.model.SerializeToString(deterministic=True) == before


def test_quantizing_twice_gives_the_same_bytes(
    small_cnn: Written, calibrated: quantize.Calibrated
) -> None:
    card = small_cnn.changed(precision="int8")
    again = quantize.calibrate(small_cnn.graph, small_cnn.splits.train.images[:100])
    assert seal(quantize.quantize(calibrated, target="portable"), card) == seal(
        quantize.quantize(again, target="portable"), card
    )


def test_int8_answers_nearly_as_float(small_cnn: Written, calibrated: quantize.Calibrated) -> None:
    card = small_cnn.changed(precision="int8")
    model = seal(quantize.quantize(calibrated, target="portable"), card)
    reference = runtime.logits(
        runtime.open_session(seal(small_cnn.graph, small_cnn.card)),
        small_cnn.card,
        small_cnn.images,
    )
    given = runtime.logits(runtime.open_session(model), card, small_cnn.images)
    assert (reference.argmax(axis=1) == given.argmax(axis=1)).mean() > 0.97
    noise = float(((reference - given) ** 2).sum() / (reference**2).sum())
    assert noise < 10**-2.5  # 25 dB


def test_logits_lie_on_the_grid_of_the_step(
    small_cnn: Written, calibrated: quantize.Calibrated
) -> None:
    model = quantize.quantize(calibrated, target="portable")
    step = quantize.logit_step(model)
    assert step is not None
    card = small_cnn.changed(precision="int8")
    session = runtime.open_session(seal(model, card))
    codes = runtime.logits(session, card, small_cnn.images) / np.float32(step)
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-4)
    assert len(np.unique(np.round(codes))) > 50
    kept = quantize.quantize(calibrated, target="portable", keep_float=["linear"])
    assert quantize.logit_step(kept) is None


def test_residual_adds_in_integers_are_counted(small_cnn: Written, resnet20: Written) -> None:
    found = {}
    for written in (small_cnn, resnet20):
        ranges = quantize.calibrate(written.graph, written.splits.train.images[:10])
        model = quantize.quantize(ranges, target="portable")
        found[written.card.name] = quantize.quantized_adds(model)
    assert found == {"small_cnn": 0, "resnet20": 9}


def test_the_integers_equal_an_exact_reference(
    small_cnn: Written, calibrated: quantize.Calibrated, tmp_path: Path
) -> None:
    """onnx's own evaluator computes each quantized convolution in exact arithmetic."""
    from onnx.reference import ReferenceEvaluator

    card = small_cnn.changed(precision="int8")
    data = seal(quantize.quantize(calibrated, target="portable"), card)
    newer = onnx.load_model_from_string(data)
    newer.opset_import[0].version = 19  # the first for which it has DequantizeLinear; same meaning
    evaluator = ReferenceEvaluator(newer)
    session = runtime.open_session(data)
    for image in small_cnn.images[:2]:
        given = session.run(None, {"image": image[np.newaxis]})[0]
        expected = evaluator.run(None, {"image": image[np.newaxis]})[0]
        step = quantize.logit_step(onnx.load_model_from_string(data))
        assert step is not None
        # the evaluator sums in float: a tie may fall to the next code
        np.testing.assert_allclose(given, expected, atol=2.01 * step)


def test_layers_are_those_of_the_float_graph(calibrated: quantize.Calibrated) -> None:
    assert len(layers(calibrated.model)) == 7
