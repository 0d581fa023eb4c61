import pytest

from compress.config.specs import Scalar
from compress.errors import ConfigError
from compress.models.normalization import read_normalization


def test_a_name_gives_its_numbers() -> None:
    found = read_normalization({"normalization": "imagenet"})
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.std == (0.229, 0.224, 0.225)


def test_no_normalisation_is_the_identity() -> None:
    found = read_normalization({"normalization": "none"})
    assert (found.mean, found.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_numbers_can_be_given() -> None:
    found = read_normalization({"mean": "0.1/0.2/0.3", "std": "1/0.5/0.25"})
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (1.0, 0.5, 0.25))


@pytest.mark.parametrize(
    "options", [{}, {"mean": "0/0/0"}, {"normalization": "none", "mean": "0/0/0", "std": "1/1/1"}]
)
def test_nothing_half_or_both_are_refused(options: dict[str, Scalar]) -> None:
    with pytest.raises(ConfigError, match="in one way"):
        read_normalization(options)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'svhn'") as caught:
        read_normalization({"normalization": "svhn"})
    assert "cifar100" in caught.value.hint


@pytest.mark.parametrize(
    ("mean", "std"),
    [("0.5", "1/1/1"), ("a/b/c", "1/1/1"), ("0/0/0/0", "1/1/1"), ("0/0/0", "1/0/1")],
)
def test_numbers_that_are_no_channels_are_refused(mean: str, std: str) -> None:
    with pytest.raises(ConfigError, match=r"is not three numbers|must be above 0"):
        read_normalization({"mean": mean, "std": std})
