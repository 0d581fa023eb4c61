"""Static INT8: U8 activations, S8 weights per channel, in QDQ form, and a look at what fuses."""

import logging
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from compress import runtime
from compress.graph.write import INPUT, LAYER_TYPES, LOGITS, finish
from compress.records.model_card import Target

QUANTIZED_TYPES = (
    *sorted(LAYER_TYPES),
    *("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "MaxPool"),
    *("Pad", "Relu", "Reshape", "Slice", "Squeeze", "Transpose"),
)
FLOAT_TYPES = LAYER_TYPES | {"FusedConv", "FusedGemm", "FusedMatMul", "NhwcFusedConv"}
INTEGER_TYPES = frozenset(
    {
        "QLinearConv",
        "QGemm",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
        "DynamicQuantizeMatMul",
    }
    | {"MatMulIntegerToFloat", "QConv"}
)
WEIGHT_BITS: dict[Target, int] = {"portable": 7, "vnni": 8, "arm64": 8}


@dataclass(frozen=True)
class Calibrated:
    """A float graph with the range of every activation.

    Attributes:
        model: Answers logits in float32.
        ranges: Smallest and largest value of every tensor over the calibration images.
    """

    model: ModelProto
    ranges: TensorsData


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """Hands out inputs one call at a time."""

    def __init__(self, inputs: NDArray[Any]) -> None:
        self._calls: Iterator[NDArray[Any]] = (inputs[k : k + 1] for k in range(len(inputs)))

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next call's feed, or None at the end."""
        call = next(self._calls, None)
        return None if call is None else {INPUT: call}


def calibrate(model: ModelProto, inputs: NDArray[Any]) -> Calibrated:
    """Measure the range of every activation (minimum and maximum).

    Args:
        model: A float graph that answers logits.
        inputs: (images, …) as the graph takes them.
    """
    with tempfile.TemporaryDirectory(prefix="compress-") as folder:
        path = Path(folder) / "float.onnx"
        onnx.save_model(model, path)
        calibrator = create_calibrator(
            path,
            list(QUANTIZED_TYPES),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
            providers=[runtime.CPU],
        )
        calibrator.collect_data(_Images(inputs))
        return Calibrated(model, calibrator.compute_data())


def quantize(
    calibrated: Calibrated,
    *,
    target: Target,
    keep_float: Collection[str] = (),
    only: Collection[str] | None = None,
) -> ModelProto:
    """Quantize a graph; preprocessing before the first layer stays in float.

    So does the averaging of an ensemble: of probabilities in 8 bits, the logarithm of the small
    ones is lost.

    Args:
        calibrated: What `calibrate` returned.
        target: "portable" takes 7 bits of the weights, so that no CPU saturates.
        keep_float: Layers that stay in float, by name.
        only: Quantize these layers and nothing else.

    Returns:
        A graph with QuantizeLinear and DequantizeLinear around what runs in integers.
    """
    source = ModelProto()
    source.CopyFrom(calibrated.model)
    excluded = [*preprocessing(source), *averaging(source), *keep_float]
    quiet = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        quantizer = QDQQuantizer(
            source,
            True,  # per channel
            WEIGHT_BITS[target] == 7,
            QuantType.QInt8,
            QuantType.QUInt8,
            calibrated.ranges,
            sorted(only) if only is not None else [],
            excluded,
            list(QUANTIZED_TYPES),
            {},
        )
        quantizer.quantize_model()
    finally:
        logging.getLogger().setLevel(quiet)
    model: ModelProto = quantizer.model.model
    _guard(model, keep_float)
    return finish(model)


def _guard(model: ModelProto, keep_float: Collection[str]) -> None:
    """Keep ONNX Runtime (1.21 and newer) from quantizing layers that were left in float.

    Its WeightBiasQuantization does so, per tensor and with 8 bits, to every layer between a
    DequantizeLinear and a QuantizeLinear, unless the former has a scale per channel: here each
    channel gets the same scale, so that nothing else changes.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for node in [node for node in graph.node if node.name in keep_float]:
        maker = makers.get(node.input[0])
        if maker is None or maker.op_type != "DequantizeLinear" or node.input[1] not in weights:
            continue
        channels = _input_channels(node, weights[node.input[1]])
        own = [maker.input[0]]
        for place, kind in ((1, "scale"), (2, "zero_point")):
            one = numpy_helper.to_array(weights[maker.input[place]])
            name = f"{node.name}_input_{kind}"
            values = np.full(channels, one, dtype=one.dtype)
            graph.initializer.append(numpy_helper.from_array(values, name))
            own.append(name)
        output = f"{node.name}_input"
        graph.node.append(
            helper.make_node("DequantizeLinear", own, [output], name=f"{output}_dq", axis=1)
        )
        node.input[0] = output


def _input_channels(node: NodeProto, weight: TensorProto) -> int:
    """Channels, or features, of a layer's input."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Conv":
        return int(weight.dims[1]) * int(attributes.get("group", 1))
    return int(weight.dims[1 if attributes.get("transB", 0) else 0])


def preprocessing(model: ModelProto) -> list[str]:
    """The nodes between the input and the first layer, by name."""
    names: list[str] = []
    for node in model.graph.node:
        if node.op_type in LAYER_TYPES:
            return names
        names.append(node.name)
    return names


def averaging(model: ModelProto) -> list[str]:
    """The nodes from a softmax to the logits, which only an ensemble has, by name."""
    names: list[str] = []
    reached: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Softmax" or not reached.isdisjoint(node.input):
            reached.update(node.output)
            names.append(node.name)
    return names


def float_layers(model: bytes) -> tuple[list[str], int]:
    """Which layers ONNX Runtime computes in float on this CPU, read from its optimized graph.

    Args:
        model: A quantized file.

    Returns:
        Names of layers left in float, and how many run in integers.
    """
    with tempfile.TemporaryDirectory(prefix="compress-") as folder:
        path = Path(folder) / "optimized.onnx"
        runtime.open_session(model, optimized_path=path)
        graph = onnx.load_model(path).graph
    left = [node.name for node in graph.node if node.op_type in FLOAT_TYPES]
    return left, sum(node.op_type in INTEGER_TYPES for node in graph.node)


def quantized_adds(model: ModelProto) -> int:
    """Adds of two activations that run in integers: CPUs round their ties differently."""
    dequantized = {
        name
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        for name in node.output
    }
    return sum(
        node.op_type == "Add" and all(name in dequantized for name in node.input)
        for node in model.graph.node
    )


def logit_step(model: ModelProto) -> float | None:
    """Distance of neighbouring logits: the scale they are dequantized with; None for floats."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if LOGITS in node.output and node.op_type == "DequantizeLinear":
            return float(numpy_helper.to_array(constants[node.input[1]]).max())
    return None
