"""What the options of a model or a loss may be: defaults, choices and bounds."""

from collections.abc import Callable
from dataclasses import dataclass

from compress.config.specs import Scalar
from compress.errors import ConfigError

SMALL_IMAGE = 64


@dataclass(frozen=True)
class Option:
    """One option of a model or a loss.

    Attributes:
        default: The value where none is given, or a function of the image size in pixels.
        choices: The values allowed; empty when the bounds decide.
        minimum: The smallest number allowed; with a float here, the option is a float.
        maximum: The largest number allowed.
    """

    default: Scalar | Callable[[int], Scalar]
    choices: tuple[Scalar, ...] = ()
    minimum: float = 0.0
    maximum: float = float("inf")

    def default_at(self, image_size: int) -> Scalar:
        """The value for images of this many pixels a side where none is given."""
        return self.default(image_size) if callable(self.default) else self.default

    def check(self, name: str, value: Scalar) -> Scalar:
        """Return the value as the option has it: of 1 and 1.0 the choice, or a float.

        Raises:
            ConfigError: The value is no choice, no number or out of bounds.
        """
        if self.choices:
            found = [choice for choice in self.choices if choice == value]
            if not found or isinstance(value, bool):
                allowed = ", ".join(str(choice) for choice in self.choices)
                raise ConfigError(f"{name}={value} is not one of {allowed}")
            return found[0]
        if isinstance(value, (str, bool)):
            raise ConfigError(f"{name}={value} is not a number")
        if not self.minimum <= value <= self.maximum:
            raise ConfigError(f"{name}={value} is not between {self.minimum} and {self.maximum}")
        return float(value)


def by_image_size(small: Scalar, large: Scalar) -> Callable[[int], Scalar]:
    """A default that is `small` up to 64 pixels a side and `large` above."""
    return lambda image_size: small if image_size <= SMALL_IMAGE else large


def dropout(default: float) -> Option:
    """A share of activations set to zero in training."""
    return Option(default, maximum=0.95)


STEM = Option(by_image_size("cifar", "imagenet"), choices=("cifar", "imagenet"))
WEIGHTS = Option("none", choices=("none", "imagenet"))
WIDTH = Option(1.0, minimum=0.1, maximum=4.0)
