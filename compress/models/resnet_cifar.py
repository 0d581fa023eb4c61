"""The ResNet family made for CIFAR: 6n+2 layers, 16-32-64 channels, shortcuts without parameters.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2. The
parameter names are those of the published CIFAR checkpoints (`conv1` … `layer3.8.bn2`, `linear`).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from compress.models.options import Option

OPTIONS: dict[str, Option] = {}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut of kind A: every second pixel, channels zero-padded.

    Args:
        channels_in: Channels of the input.
        channels: Channels of the output; where they differ, the new ones are half before and half
            after the old.
        stride: Stride of the first convolution and of the shortcut.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.padding = (channels - channels_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels_in, height, width) to (batch, channels, height / stride, …)."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1 or self.padding:
            x = F.pad(
                x[:, :, :: self.stride, :: self.stride],
                (0, 0, 0, 0, self.padding, self.padding),
            )
        return F.relu(residual + x)


class CifarResNet(nn.Module):
    """A stem convolution, three stages of basic blocks, global average pooling, a linear layer.

    Args:
        blocks: Blocks in each stage.
        classes: Length of the logits.
    """

    stages = ("layer1", "layer2", "layer3")

    def __init__(self, blocks: int, *, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (batch, 3, height, width) to logits (batch, classes)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


def _stage(channels_in: int, channels: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


def resnet20(*, classes: int) -> nn.Module:
    """CIFAR ResNet with 3 blocks per stage, 0.27 M parameters."""
    return CifarResNet(3, classes=classes)


def resnet32(*, classes: int) -> nn.Module:
    """CIFAR ResNet with 5 blocks per stage, 0.46 M parameters."""
    return CifarResNet(5, classes=classes)


def resnet44(*, classes: int) -> nn.Module:
    """CIFAR ResNet with 7 blocks per stage, 0.66 M parameters."""
    return CifarResNet(7, classes=classes)


def resnet56(*, classes: int) -> nn.Module:
    """CIFAR ResNet with 9 blocks per stage, 0.85 M parameters."""
    return CifarResNet(9, classes=classes)


def resnet110(*, classes: int) -> nn.Module:
    """CIFAR ResNet with 18 blocks per stage, 1.73 M parameters."""
    return CifarResNet(18, classes=classes)
