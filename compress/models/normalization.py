"""The channel means and standard deviations that models were trained with, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from compress.config.specs import Scalar
from compress.errors import ConfigError

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Normalization:
    """What is subtracted from images with values 0-1, and what they are then divided by."""

    mean: Channels
    std: Channels


NORMALIZATIONS = {
    "none": Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "half": Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": Normalization((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
}


def read_normalization(options: Mapping[str, Scalar]) -> Normalization:
    """The normalisation that `normalization=NAME`, or `mean=R/G/B,std=R/G/B`, asks for.

    Raises:
        ConfigError: Nothing or both are said, the name is unknown, or the numbers are no channels.
    """
    name, mean, std = (options.get(key) for key in ("normalization", "mean", "std"))
    known = ", ".join(NORMALIZATIONS)
    if name is None and mean is not None and std is not None:
        deviations = _channels("std", std)
        if min(deviations) <= 0:
            raise ConfigError(f"std={std} must be above 0")
        return Normalization(_channels("mean", mean), deviations)
    if name is None or mean is not None or std is not None:
        raise ConfigError(
            "say how the images of a foreign model are normalised, in one way",
            hint=f"normalization=NAME ({known}) or mean=R/G/B,std=R/G/B",
        )
    if name not in NORMALIZATIONS:
        raise ConfigError(f"unknown normalization {name!r}", hint=f"known: {known}")
    return NORMALIZATIONS[str(name)]


def _channels(key: str, value: Scalar) -> Channels:
    try:
        red, green, blue = (float(part) for part in str(value).split("/"))
    except ValueError as error:
        raise ConfigError(
            f"{key}={value} is not three numbers", hint=f"write {key}=0.5/0.5/0.5"
        ) from error
    return red, green, blue
