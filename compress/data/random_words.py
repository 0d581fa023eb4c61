"""Random numbers that are the same on every machine: Philox words mapped by our own arithmetic.

NumPy keeps the raw words of its bit generators fixed for ever, but not what `Generator` makes of
them, so only raw words are taken from it.
"""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]


def words(seed: int, number: int, stream: int, count: int) -> Words:
    """Draw the first `count` words of one stream of a counter-based generator.

    The generator is Philox4x64-10 with the key (seed, number); the counter starts at
    stream * 2**192, so streams of one key never overlap and longer draws begin with shorter ones.

    Args:
        seed: Which family of draws, 0 to 2**64 - 1.
        number: Which member of the family, 0 to 2**64 - 1.
        stream: Which quantity is drawn, 0 to 2**64 - 1.
        count: How many words.

    Returns:
        Shape (count,), uint64, uniform over all 64-bit values.

    Raises:
        ValueError: A number is outside its range.

    Source:
        Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", 2011.
    """
    for name, value in (("seed", seed), ("number", number), ("stream", stream)):
        if not 0 <= value < 2**64:
            raise ValueError(f"{name} {value} is not between 0 and 2**64 - 1")
    generator = np.random.Philox(
        key=np.array([seed, number], dtype=np.uint64),
        counter=np.array([0, 0, 0, stream], dtype=np.uint64),
    )
    return np.asarray(generator.random_raw(count), dtype=np.uint64)


def permutation(drawn: Words) -> NDArray[np.int64]:
    """The order that sorts the words, equal words keeping their places: shape (count,), int64."""
    return np.argsort(drawn, kind="stable").astype(np.int64, copy=False)


def integers(drawn: Words, bound: int) -> NDArray[np.int64]:
    """Map words to integers from 0 to bound - 1, by multiply and shift of their upper halves.

    Args:
        drawn: Words of any shape.
        bound: How many values there are, 1 to 2**32; each is met with probability 1/bound to
            within 2**-32.

    Returns:
        int64 of the same shape.

    Raises:
        ValueError: `bound` is outside its range.
    """
    if not 1 <= bound <= 2**32:
        raise ValueError(f"bound {bound} is not between 1 and 2**32")
    scaled = (drawn >> np.uint64(32)) * np.uint64(bound)
    return (scaled >> np.uint64(32)).astype(np.int64)


def uniforms(drawn: Words) -> NDArray[np.float64]:
    """Map words to the midpoints of 2**52 equal cells of (0, 1); never 0 or 1.

    Returns:
        float64 of the shape of `drawn`: ((word >> 12) + 1/2) * 2**-52, without rounding.
    """
    return ((drawn >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
