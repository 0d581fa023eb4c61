"""Reading feature maps inside a model by the paths of its modules, without editing the model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import ResNet

from compress.errors import ConfigError, unknown
from compress.models.evaluating import evaluating
from compress.models.normalized import Normalized

# The last maps of MobileNetV2 at strides 4, 8, 16 and 32 (of torchvision's strides): ResNet's.
MOBILENET_STAGES = ("features.3", "features.6", "features.13", "features.18")


def default_taps(model: nn.Module) -> tuple[str, ...]:
    """The paths of a model's stages, from shallow to deep.

    Args:
        model: One of the registry's, also inside `Normalized`.

    Raises:
        ConfigError: The model is none of those whose stages are known.
    """
    if isinstance(model, Normalized):
        return tuple(f"model.{path}" for path in default_taps(model.model))
    if isinstance(model, ResNet):
        layers = ("layer1", "layer2", "layer3", "layer4")
        return tuple(path for path in layers if isinstance(getattr(model, path), nn.Sequential))
    if isinstance(model, MobileNetV2):
        return MOBILENET_STAGES
    stages = getattr(model, "stages", None)
    if not isinstance(stages, tuple):
        raise ConfigError(
            f"the stages of {type(model).__name__} are not known",
            hint="name them in the loss: student_taps=PATH+PATH,teacher_taps=PATH+PATH",
        )
    return stages


@contextmanager
def tapped(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of modules, by path, while the model runs.

    Each forward pass replaces what the one before it left. An operation in place that follows a
    module (a ReLU after BatchNorm) changes what was collected; `shapes` refuses such paths.

    Args:
        model: Runs inside the block as often as wanted.
        paths: Module paths as in `model.named_modules()`.

    Yields:
        The mapping that fills, in the order the modules run.

    Raises:
        ConfigError: The model has no module of that path; those of its upper levels are listed.
    """
    features: dict[str, Tensor] = {}
    with _hooked(model, paths, features.__setitem__):
        yield features


@contextmanager
def _hooked(
    model: nn.Module, paths: Sequence[str], keep: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Hand each module's path and output over as soon as it has run.

    Raises:
        ConfigError: The model has no module of that path; those of its upper levels are listed.
    """
    modules = dict(model.named_modules()) if paths else {}  # walking a big model takes time
    for path in paths:
        if path not in modules or not path:
            upper = [name for name in modules if name and name.count(".") < 2]
            raise unknown("module path", path, upper)

    def hook(path: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        keep(path, output)

    handles = [
        modules[path].register_forward_hook(partial(hook, path)) for path in dict.fromkeys(paths)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def shapes(
    model: nn.Module, paths: Sequence[str], *, image_size: int, channels: int = 3
) -> dict[str, tuple[int, ...]]:
    """The shape of one image's features at each path: (channels, height, width), in that order.

    The model runs once on a black image, in evaluation mode, and is left as it was.

    Args:
        model: Takes float images (1, channels, image_size, image_size).
        paths: Module paths.
        image_size: Side of the image in pixels.
        channels: Channels of the image.

    Raises:
        ConfigError: The model has no module of that path, or changes the module's output in place.
    """
    weight = next(model.parameters())
    image = torch.zeros(
        1, channels, image_size, image_size, device=weight.device, dtype=weight.dtype
    )
    found: dict[str, tuple[Tensor, int]] = {}

    def keep(path: str, output: Tensor) -> None:
        """With the output, how often it had been written in place when its module was done."""
        found[path] = output, output._version

    with evaluating(model), _hooked(model, paths, keep):
        model(image)
    for path, (output, version) in found.items():
        if output._version != version:
            raise ConfigError(
                f"the output of {path} is changed in place by what follows it",
                hint="name the module after it, or the block that holds both",
            )
    return {path: tuple(found[path][0].shape[1:]) for path in paths}
