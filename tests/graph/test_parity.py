"""Parity must fail where a graph is broken."""

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from compress import runtime
from compress.errors import UnusableError
from compress.graph import parity
from compress.graph.write import seal
from tests.graph.conftest import Written


def answers(
    written: Written, graph: ModelProto
) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    session = runtime.open_session(seal(graph, written.card))
    return runtime.logits(session, written.card, written.images)


def test_a_right_graph_passes_on_every_test_image(small_cnn: Written) -> None:
    reference = parity.torch_logits(small_cnn.classifier, small_cnn.images)
    found = parity.compare(reference, answers(small_cnn, small_cnn.graph), source="m")
    assert found.images == 360
    assert found.agreement == 1.0
    assert found.max_difference < found.tolerance / 10


def test_a_bias_moved_by_a_hundredth_is_refused(small_cnn: Written) -> None:
    broken = ModelProto()
    broken.CopyFrom(small_cnn.graph)
    bias = next(t for t in broken.graph.initializer if t.name == "linear.bias")
    moved = numpy_helper.to_array(bias) + np.eye(1, 10, dtype=np.float32)[0] * 0.05
    bias.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), "linear.bias"))
    reference = parity.torch_logits(small_cnn.classifier, small_cnn.images)
    with pytest.raises(UnusableError, match="does not compute what torch computes") as caught:
        parity.compare(reference, answers(small_cnn, broken), source="m")
    assert "360 images" in caught.value.message


def test_an_answer_that_is_no_number_is_refused() -> None:
    reference = np.zeros((2, 3), dtype=np.float32)
    with pytest.raises(UnusableError):
        parity.compare(reference, np.full((2, 3), np.nan, dtype=np.float32), source="m")


def test_the_tolerance_grows_with_the_logits() -> None:
    reference = np.array([[1000.0, 0.0]], dtype=np.float32)
    near = reference + np.float32(0.4)
    assert parity.compare(reference, near, source="m").tolerance == pytest.approx(0.5)
    scale = np.float32(1000)
    with pytest.raises(UnusableError):
        parity.compare(reference / scale, near / scale + np.float32(0.01), source="m")


def test_different_shapes_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="shape"):
        parity.compare(np.zeros((2, 3), np.float32), np.zeros((3, 3), np.float32), source="m")
