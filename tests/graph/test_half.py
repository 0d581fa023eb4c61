"""The float16 form."""

import numpy as np
import onnx
from onnx import TensorProto

from compress import runtime
from compress.graph.half import to_float16
from compress.graph.write import seal
from tests.graph.conftest import Written


def test_weights_are_float16_and_the_interface_is_unchanged(small_cnn: Written) -> None:
    model = to_float16(small_cnn.graph)
    kinds = {t.name: t.data_type for t in model.graph.initializer if t.name.endswith("weight")}
    assert set(kinds.values()) == {TensorProto.FLOAT16}
    assert model.graph.input[0].type == small_cnn.graph.graph.input[0].type
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_answers_are_close_and_the_file_is_half_as_large(small_cnn: Written) -> None:
    card = small_cnn.changed(precision="fp16")
    whole, half = seal(small_cnn.graph, small_cnn.card), seal(to_float16(small_cnn.graph), card)
    assert len(half) < 0.52 * len(whole)
    reference = runtime.logits(runtime.open_session(whole), small_cnn.card, small_cnn.images[:50])
    given = runtime.logits(runtime.open_session(half), card, small_cnn.images[:50])
    assert 0 < np.abs(reference - given).max() < 0.05


def test_the_float_graph_is_left_as_it_was(small_cnn: Written) -> None:
    before = small_cnn.graph.SerializeToString(deterministic=True)
    to_float16(small_cnn.graph)
    assert small_cnn.graph.SerializeToString(deterministic=True) == before


def test_pixels_are_normalised_in_float32(small_cnn: Written) -> None:
    model = onnx.load_model_from_string(
        seal(to_float16(small_cnn.graph), small_cnn.changed(precision="fp16"))
    )
    scale = next(t for t in model.graph.initializer if list(t.dims)[:2] == [3, 1])
    assert scale.data_type == TensorProto.FLOAT
