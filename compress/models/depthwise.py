"""Depthwise convolutions that stay in float32 while autocast lowers the rest of the network.

In bfloat16 some of their gradients are many times slower than in float32: on a Xeon with AVX-512
and AMX, 128 images of 576 channels, 8x8 pixels and stride 2 take 93 ms instead of 3. Which of them
are, differs by processor and map: measure, then choose.
"""

from typing import Self, TypeGuard

import torch
from torch import Tensor, nn


class Float32Conv2d(nn.Conv2d):
    """A convolution computed in float32 under any autocast; its result has the input's dtype.

    Parameters, their names and, without autocast, the results are those of the convolution.
    """

    @classmethod
    def sharing(cls, convolution: nn.Conv2d) -> Self:
        """A module with the very parameters of a convolution, not copies of them."""
        # As in MatmulConv2d: building one anew would draw weights from the global generator.
        module = cls.__new__(cls)
        module.__dict__.update(convolution.__dict__)
        return module

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels_in, height, width) to (batch, channels, …) as the convolution."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype)).to(x.dtype)


def depthwise_in_float32(model: nn.Module, *, strided_only: bool) -> None:
    """Let depthwise convolutions compute in float32 under autocast, in place.

    Parameters stay the same objects under the same names: optimizers, state dicts and hooks made
    before remain valid.

    Args:
        model: Any model; convolutions with fewer groups than channels are left as they are.
        strided_only: Only those with a stride above 1.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if is_depthwise(child) and not (strided_only and max(child.stride) == 1):
                setattr(parent, name, Float32Conv2d.sharing(child))


def is_depthwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module is a convolution of each channel by itself."""
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
