"""Constants of the normalisation, written a row wide."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.graph.preprocessing import widen_constants

WIDTH = 5


def graph(shape: tuple[int, ...]) -> onnx.ModelProto:
    """(x * scale + shift), then a 1x1 convolution and a scale of its own."""
    draw = np.random.default_rng(0)
    constants = {
        "scale": draw.random(shape, dtype=np.float32),
        "shift": draw.random(shape, dtype=np.float32),
        "weight": draw.random((2, 3, 1, 1), dtype=np.float32),
        "later": draw.random((2, 1, 1), dtype=np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["image", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["normalised"]),
        helper.make_node("Conv", ["normalised", "weight"], ["features"]),
        helper.make_node("Mul", ["features", "later"], ["answer"]),
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, WIDTH, WIDTH])],
            [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 2, WIDTH, WIDTH])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )


def shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    return {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}


def answer(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    image = np.random.default_rng(1).random((1, 3, WIDTH, WIDTH), dtype=np.float32)
    found: np.ndarray = session.run(None, {"image": image})[0]
    return found


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 1, 1)])
def test_constants_before_the_first_layer_get_as_wide_as_the_image(shape: tuple[int, ...]) -> None:
    model = graph(shape)
    before = answer(model)
    widen_constants(model, WIDTH)
    assert shapes(model) == {
        "scale": [*shape[:-1], WIDTH],
        "shift": [*shape[:-1], WIDTH],
        "weight": [2, 3, 1, 1],
        "later": [2, 1, 1],
    }
    onnx.checker.check_model(model, full_check=True)
    assert np.array_equal(answer(model), before)
