"""Random words against the published generator, written out here in whole numbers."""

import numpy as np
import pytest
from scipy import stats

from compress.data import random_words

MASK = 2**64 - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 as Salmon et al. (2011) define it."""
    a, b = key
    for _ in range(10):
        low = counter[0] * 0xD2E7470EE14C6C93
        high = counter[2] * 0xCA5A826395121157
        counter = [
            (high >> 64) ^ counter[1] ^ a,
            high & MASK,
            (low >> 64) ^ counter[3] ^ b,
            low & MASK,
        ]
        a, b = (a + 0x9E3779B97F4A7C15) & MASK, (b + 0xBB67AE8584CAA73B) & MASK
    return counter


def test_the_reference_meets_the_published_answers():
    # Random123's kat_vectors, philox4x64 10.
    assert philox([0] * 4, [0] * 2) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]
    assert philox([MASK] * 4, [MASK] * 2) == [
        0x87B092C3013FE90B,
        0x438C3C67BE8D0224,
        0x9CC7D7C69CD777B6,
        0xA09CAEBF594F0BA0,
    ]


@pytest.mark.parametrize(
    ("seed", "number", "stream"), [(0, 0, 0), (7, 17, 3), (MASK, 2**63, 33), (1, 2, MASK)]
)
def test_words_are_philox_of_the_key_and_a_counter_of_the_stream(seed, number, stream):
    expected = [
        word for block in (1, 2, 3) for word in philox([block, 0, 0, stream], [seed, number])
    ]
    drawn = random_words.words(seed, number, stream, 10)
    assert drawn.dtype == np.uint64
    assert drawn.tolist() == expected[:10]


@pytest.mark.parametrize(("seed", "number", "stream"), [(-1, 0, 0), (0, 2**64, 0), (0, 0, -3)])
def test_words_refuse_keys_outside_64_bits(seed, number, stream):
    with pytest.raises(ValueError, match="not between"):
        random_words.words(seed, number, stream, 1)


def test_permutation_sorts_the_words_and_keeps_equal_ones_in_place():
    drawn = np.array([5, 1, 5, 0, 1], dtype=np.uint64)
    assert random_words.permutation(drawn).tolist() == [3, 1, 4, 0, 2]


def test_integers_take_the_upper_half_of_the_word():
    drawn = np.array([0, 1 << 63, MASK, (1 << 62) - 1, 1 << 62], dtype=np.uint64)
    assert random_words.integers(drawn, 4).tolist() == [0, 2, 3, 0, 1]
    assert random_words.integers(drawn, 1).tolist() == [0] * 5
    assert random_words.integers(drawn, 2**32)[2] == 2**32 - 1


@pytest.mark.parametrize("bound", [0, 2**32 + 1])
def test_integers_refuse_an_impossible_bound(bound):
    with pytest.raises(ValueError, match="bound"):
        random_words.integers(np.zeros(1, dtype=np.uint64), bound)


def test_integers_are_uniform():
    counts = np.bincount(random_words.integers(random_words.words(1, 2, 3, 90_000), 9))
    assert stats.chisquare(counts).pvalue > 0.001


def test_uniforms_never_reach_either_end():
    drawn = np.array([0, MASK, 1 << 63], dtype=np.uint64)
    low, high, middle = random_words.uniforms(drawn).tolist()
    assert low == 2.0**-53
    assert high == 1.0 - 2.0**-53
    assert middle == 0.5 + 2.0**-53


def test_uniforms_are_uniform():
    values = random_words.uniforms(random_words.words(1, 2, 4, 50_000))
    assert stats.kstest(values, "uniform").pvalue > 0.001
