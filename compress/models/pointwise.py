"""1x1 convolutions on small maps as matrix products, which some processors train much faster.

On AVX2 the weight gradients of convolutions on maps of 1x1 to 4x4 pixels fall to a slow path, and
as matrix products made training of a ResNet-50 1.3 to 4 times faster at 8 to 32 pixels. Elsewhere
they may be slower: measure, then choose.
"""

from typing import Self

import torch.nn.functional as F
from torch import Tensor, nn


class MatmulConv2d(nn.Conv2d):
    """A convolution that runs as a matrix product over channels where it amounts to one.

    It does on maps no larger than `max_map` with a 1x1 window, and on maps of one pixel with any
    odd window padded to its size, of which only the centre meets the pixel. Parameters, their names
    and the results (to rounding) are those of the convolution.
    """

    max_map: int

    @classmethod
    def sharing(cls, convolution: nn.Conv2d, *, max_map: int) -> Self:
        """A module with the very parameters of a convolution, not copies of them."""
        # Every attribute of the convolution is taken over: building one anew would draw weights
        # from the global generator and so change what is initialised after it.
        module = cls.__new__(cls)
        module.__dict__.update(convolution.__dict__)
        module.max_map = max_map
        return module

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels_in, height, width) to (batch, channels, …) as the convolution."""
        height, width = x.shape[2:]
        if max(height, width) > self.max_map or (max(height, width) > 1 and not _is_1x1(self)):
            return super().forward(x)
        rows, columns = self.stride
        pixels = x[:, :, ::rows, ::columns].permute(0, 2, 3, 1)
        centre = self.weight[:, :, self.kernel_size[0] // 2, self.kernel_size[1] // 2]
        return F.linear(pixels, centre, self.bias).permute(0, 3, 1, 2)


def pointwise_as_matmul(model: nn.Module, *, max_map: int) -> None:
    """Let the convolutions that can run as matrix products do so on small maps, in place.

    Parameters stay the same objects under the same names: optimizers, state dicts and hooks made
    before remain valid.

    Args:
        model: Any model; depthwise and grouped convolutions are left as they are.
        max_map: Largest side of a map, in pixels, on which 1x1 convolutions are matrix products.

    Raises:
        ValueError: `max_map` is below 1.
    """
    if max_map < 1:
        raise ValueError(f"max_map {max_map} is below one pixel")
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and _can_be_product(child):
                setattr(parent, name, MatmulConv2d.sharing(child, max_map=max_map))


def _can_be_product(convolution: nn.Conv2d) -> bool:
    """Whether the window's centre alone meets a map of one pixel."""
    return (
        convolution.groups == 1
        and all(side % 2 == 1 for side in convolution.kernel_size)
        and convolution.padding == tuple(side // 2 for side in convolution.kernel_size)
        and convolution.dilation == (1, 1)
        and convolution.padding_mode == "zeros"
    )


def _is_1x1(convolution: nn.Conv2d) -> bool:
    return convolution.kernel_size == (1, 1)
