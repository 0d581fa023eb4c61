"""What a model costs: parameters and multiply-accumulates."""

import torch
from torch import Tensor, nn

from compress.models.evaluating import evaluating


def parameters(model: nn.Module) -> int:
    """Number of trainable and frozen parameters; buffers such as BatchNorm's means not counted."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: nn.Module, image_size: int, *, channels: int = 3) -> int:
    """Multiply-accumulates of one image through all convolutions and linear layers.

    BatchNorm, activations, pooling and additions are not counted, as is usual.

    Args:
        model: Takes float images (1, channels, image_size, image_size); run once on its device.
        image_size: Side of the image in pixels.
        channels: Channels of the image.
    """
    counts: list[int] = []

    def count(module: nn.Module, _inputs: object, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            counts.append(output.numel() * module.weight[0].numel())

    hooks = [
        module.register_forward_hook(count)
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    weight = next(model.parameters())
    image = torch.zeros(
        1, channels, image_size, image_size, device=weight.device, dtype=weight.dtype
    )
    try:
        with evaluating(model):
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts)
