"""Inputs drawn for a model of which no real images are at hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import InputError


def drawn_feeds(
    session: Any, *, source: str, shape: Sequence[int] | None = None
) -> list[dict[str, NDArray[Any]]]:
    """One drawn input for a session of a single input.

    Args:
        session: An open session.
        source: The model, for messages.
        shape: Of the input; None takes the model's own.

    Raises:
        InputError: The model has several inputs, or one that is neither float nor uint8.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise InputError(f"{source} has {len(inputs)} inputs, an image classifier has one")
    (place,) = inputs
    sides = shape if shape is not None else place.shape
    return [{place.name: _drawn_input(sides, place.type, seed=1)}]


def _drawn_input(shape: Sequence[int | str | None], kind: str, seed: int) -> NDArray[Any]:
    """An input of a model's own shape and type; open dimensions are 1."""
    sides = [side if isinstance(side, int) and side > 0 else 1 for side in shape]
    generator = np.random.Generator(np.random.Philox(seed))
    types = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
    if kind not in types:
        raise InputError(f"the model's input is a {kind}", hint="it must be float or uint8")
    if types[kind] is np.uint8:
        return generator.integers(0, 256, size=sides, dtype=np.uint8)
    return generator.random(size=sides, dtype=np.float32).astype(types[kind])
