"""The models by name: what they are called, which options they take, and how to build one."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from compress.config.specs import Scalar
from compress.errors import ConfigError, unknown

if TYPE_CHECKING:
    from torch import nn

    from compress.models.options import Option

# Each function takes `classes`, `image_size` where it needs it, and options of its own, all by
# keyword; its module says in OPTIONS what these options may be. Nothing here imports torch before a
# model is asked for.
MODELS = {
    "alexnet": "compress.models.alexnet:alexnet",
    "mobilenet_v2": "compress.models.mobilenet:mobilenet_v2",
    "resnet8": "compress.models.resnet:resnet8",
    "resnet14": "compress.models.resnet:resnet14",
    "resnet18": "compress.models.resnet:resnet18",
    "resnet34": "compress.models.resnet:resnet34",
    "resnet50": "compress.models.resnet:resnet50",
    "resnet20": "compress.models.resnet_cifar:resnet20",
    "resnet32": "compress.models.resnet_cifar:resnet32",
    "resnet44": "compress.models.resnet_cifar:resnet44",
    "resnet56": "compress.models.resnet_cifar:resnet56",
    "resnet110": "compress.models.resnet_cifar:resnet110",
    "small_cnn": "compress.models.small_cnn:small_cnn",
    "two_block_cnn": "compress.models.small_cnn:two_block_cnn",
}
SMALLEST_IMAGE = 4


def names() -> list[str]:
    """The models that can be built, sorted."""
    return sorted(MODELS)


def option_names(name: str) -> list[str]:
    """The options of a model, in the order of its signature.

    Raises:
        ConfigError: No such model.
    """
    return list(_options(name))


def summary(name: str) -> str:
    """One line about a model: the first of its builder's docstring.

    Raises:
        ConfigError: No such model.
    """
    return (inspect.getdoc(_builder(name)) or "").partition("\n")[0]


def resolve_options(
    name: str, *, image_size: int, options: Mapping[str, Scalar]
) -> dict[str, Scalar]:
    """Fill every option of a model, the chosen stem and strides included.

    The result with the same classes and image size rebuilds the same network.

    Args:
        name: A registered model.
        image_size: Side of the square input, in pixels.
        options: What was asked for.

    Raises:
        ConfigError: No such model or option, a value out of bounds, too small an image, or
            published weights for another width than theirs.
    """
    known = _options(name)
    for key in options:
        if key not in known:
            has = f"its options: {', '.join(known)}" if known else "it has no options"
            raise ConfigError(f"model {name} has no option {key!r}", hint=has)
    if image_size < SMALLEST_IMAGE:
        raise ConfigError(
            f"images of {image_size} pixels are too small for {name}",
            hint=f"{SMALLEST_IMAGE} pixels a side is the least",
        )
    resolved = {
        key: option.check(key, options.get(key, option.default_at(image_size)))
        for key, option in known.items()
    }
    if resolved.get("weights") == "imagenet" and resolved.get("width", 1.0) != 1:
        raise ConfigError(
            f"weights=imagenet does not go with width={resolved['width']}: they are of width 1",
            hint="leave one of the two out",
        )
    return resolved


def build(
    name: str, *, classes: int, image_size: int, options: Mapping[str, Scalar]
) -> "nn.Module":
    """Build a model on the CPU, initialised from torch's global generator.

    Call `torch.manual_seed` before: equal seeds give equal weights.

    Args:
        name: A registered model.
        classes: Length of the logits, at least 2.
        image_size: Side of the square input, in pixels, at least 4.
        options: The model's options; what is missing is filled as in `resolve_options`.

    Returns:
        A module in training mode from normalised float images (batch, 3, image_size, image_size)
        to logits (batch, classes).

    Raises:
        ConfigError: No such model or option, a value out of bounds, or too small an image.
        MachineError: Weights were asked for that cannot be downloaded.
        InputError: Weights that were downloaded are corrupt.
    """
    resolved = resolve_options(name, image_size=image_size, options=options)
    if classes < 2:
        raise ConfigError(f"{classes} classes leave nothing to classify", hint="at least 2")
    builder = _builder(name)
    if "image_size" in inspect.signature(builder).parameters:
        return builder(classes=classes, image_size=image_size, **resolved)
    return builder(classes=classes, **resolved)


@cache
def _builder(name: str) -> "Callable[..., nn.Module]":
    if name not in MODELS:
        raise unknown("model", name, list(MODELS))
    module, _, function = MODELS[name].partition(":")
    builder: Callable[..., nn.Module] = getattr(import_module(module), function)
    return builder


def _options(name: str) -> "dict[str, Option]":
    builder = _builder(name)
    table: dict[str, Option] = import_module(builder.__module__).OPTIONS
    own = [key for key in inspect.signature(builder).parameters if key in table]
    return {key: table[key] for key in own}
