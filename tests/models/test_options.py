import pytest

from compress.errors import ConfigError
from compress.models.options import Option, by_image_size

STRIDE = Option(by_image_size(1, 2), choices=(1, 2))


@pytest.mark.parametrize(("image_size", "stride"), [(8, 1), (64, 1), (65, 2), (224, 2)])
def test_a_default_can_depend_on_the_image_size(image_size: int, stride: int) -> None:
    assert STRIDE.default_at(image_size) == stride


@pytest.mark.parametrize("value", [3, "1", True])
def test_what_is_no_choice_is_refused(value: int | str | bool) -> None:
    with pytest.raises(ConfigError, match=r"stride=.* is not one of 1, 2"):
        STRIDE.check("stride", value)


def test_a_choice_is_taken_as_it_stands_there() -> None:
    """1.0 equals 1, but is no stride."""
    found = STRIDE.check("stride", 1.0)
    assert (found, type(found)) == (1, int)


def test_whole_numbers_become_floats_within_bounds() -> None:
    value = Option(1.0, minimum=0.1, maximum=4.0).check("width", 2)
    assert isinstance(value, float)


@pytest.mark.parametrize("value", [0.05, 5])
def test_numbers_out_of_bounds_are_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"width=.* is not between 0.1 and 4.0"):
        Option(1.0, minimum=0.1, maximum=4.0).check("width", value)


@pytest.mark.parametrize("value", ["wide", True])
def test_what_is_no_number_is_refused(value: str | bool) -> None:
    with pytest.raises(ConfigError, match="is not a number"):
        Option(1.0).check("width", value)
