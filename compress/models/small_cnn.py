"""Two small convolutional networks for the edge: dense 3x3 convolutions, no residual adds."""

from torch import Tensor, nn

from compress.models.options import WIDTH, dropout

OPTIONS = {"width": WIDTH, "dropout": dropout(0.0)}


class SmallCnn(nn.Module):
    """Three stages of two 3x3 convolutions with BatchNorm and ReLU, halved in size between them.

    Args:
        channels: Channels of the three stages.
        classes: Length of the logits.
        dropout: Share of the pooled features set to zero in training.
    """

    stages = ("stage1", "stage2", "stage3")

    def __init__(self, channels: tuple[int, int, int], *, classes: int, dropout: float) -> None:
        super().__init__()
        self.stage1 = _two_convolutions(3, channels[0])
        self.stage2 = _two_convolutions(channels[0], channels[1])
        self.stage3 = _two_convolutions(channels[1], channels[2])
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels[2], classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (batch, 3, height, width) to logits (batch, classes)."""
        x = self.pool(self.stage1(x))
        x = self.pool(self.stage2(x))
        x = self.stage3(x).mean(dim=(2, 3))
        logits: Tensor = self.linear(self.dropout(x))
        return logits


class TwoBlockCnn(nn.Module):
    """Two blocks of convolution, BatchNorm, ReLU and pooling, then three linear layers.

    Args:
        image_size: Side of the input in pixels; the first linear layer depends on it.
        classes: Length of the logits.
        dropout: Share of the hidden linear features set to zero in training.
    """

    stages = ("block1", "block2")

    def __init__(self, image_size: int, *, classes: int, dropout: float) -> None:
        super().__init__()
        side = image_size // 4
        self.block1 = _pooled_convolution(3, 32)
        self.block2 = _pooled_convolution(32, 64)
        self.classifier = nn.Sequential(
            nn.Linear(64 * side * side, 256),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(256, 128),
            nn.ReLU(inplace=True),
            nn.Linear(128, classes),
        )
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (batch, 3, image_size, image_size) to logits (batch, classes)."""
        logits: Tensor = self.classifier(self.block2(self.block1(x)).flatten(1))
        return logits


def small_cnn(*, classes: int, width: float, dropout: float) -> nn.Module:
    """Six dense 3x3 convolutions, 32-32-64-64-128-128 channels at width 1, 0.29 M parameters."""
    return SmallCnn(
        (_scaled(32, width), _scaled(64, width), _scaled(128, width)),
        classes=classes,
        dropout=dropout,
    )


def two_block_cnn(*, classes: int, image_size: int, dropout: float) -> nn.Module:
    """Two convolution blocks and three linear layers, 1.1 M parameters at 32 pixels."""
    return TwoBlockCnn(image_size, classes=classes, dropout=dropout)


def _scaled(channels: int, width: float) -> int:
    """Channels times the width, to the nearest multiple of 8: what vector units work on."""
    return max(8, round(channels * width / 8) * 8)


def _two_convolutions(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(channels_in, channels), *_convolution(channels, channels))


def _pooled_convolution(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(channels_in, channels), nn.MaxPool2d(2))


def _convolution(channels_in: int, channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]


def _initialise(model: nn.Module) -> None:
    """Kaiming's normal initialisation for what ends in a ReLU; torch's own for the logits."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
