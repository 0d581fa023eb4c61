"""Drawn inputs: of the model's own shape and type, the same every time."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compress.errors import InputError
from compress.measure.feeds import drawn_feeds


def session(*inputs: tuple[list[Any], str]) -> SimpleNamespace:
    """What is asked of a session of ONNX Runtime: its inputs' names, shapes and types."""
    places = [
        SimpleNamespace(name=f"x{number}", shape=shape, type=kind)
        for number, (shape, kind) in enumerate(inputs)
    ]
    return SimpleNamespace(get_inputs=lambda: places)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("tensor(float)", np.float32),
        ("tensor(float16)", np.float16),
        ("tensor(uint8)", np.uint8),
    ],
)
def test_an_input_has_the_models_type_and_shape_and_open_dimensions_are_one(
    kind: str, dtype: type[np.generic]
) -> None:
    model = session((["batch", 3, None, 8], kind))
    ((name, drawn),) = drawn_feeds(model, source="m.onnx")[0].items()
    assert (name, drawn.dtype.type, drawn.shape) == ("x0", dtype, (1, 3, 1, 8))
    assert len(np.unique(drawn)) > 4
    np.testing.assert_array_equal(drawn, drawn_feeds(model, source="m.onnx")[0]["x0"])


def test_a_given_shape_goes_before_the_models() -> None:
    model = session((["batch", 3, "side", "side"], "tensor(float)"))
    assert drawn_feeds(model, source="m.onnx", shape=(1, 3, 5, 5))[0]["x0"].shape == (1, 3, 5, 5)


def test_a_model_with_several_inputs_or_text_is_no_image_classifier() -> None:
    both = session(([1], "tensor(float)"), ([1], "tensor(float)"))
    with pytest.raises(InputError, match=r"m\.onnx has 2 inputs"):
        drawn_feeds(both, source="m.onnx")
    with pytest.raises(InputError, match="is a tensor"):
        drawn_feeds(session(([1], "tensor(string)")), source="m.onnx")
