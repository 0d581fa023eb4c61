"""AlexNet for small images: the five convolutions and three linear layers with smaller windows."""

from torch import Tensor, nn

from compress.models.options import dropout

OPTIONS = {"dropout": dropout(0.5)}


class AlexNet(nn.Module):
    """Five convolutions with three poolings, then linear layers of 4096, 4096 and the classes.

    Windows are 3x3 throughout, the stem has stride 2. The last maps are at most 2x2 pixels,
    whatever the image size.

    Args:
        image_size: Side of the input in pixels.
        classes: Length of the logits.
        dropout: Share of the inputs of both hidden linear layers set to zero in training.

    Source:
        Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, with
        the window sizes of the usual CIFAR ports.
    """

    stages = ("block1", "block2", "block3")

    def __init__(self, image_size: int, *, classes: int, dropout: float) -> None:
        super().__init__()
        side = _halved(_halved(_halved(image_size)))
        window = max(2, -(-side // 2))
        side = -(-side // window)
        self.block1 = nn.Sequential(*_convolution(3, 64, stride=2), _pool(2))
        self.block2 = nn.Sequential(*_convolution(64, 192), _pool(2))
        self.block3 = nn.Sequential(
            *_convolution(192, 384), *_convolution(384, 256), *_convolution(256, 256), _pool(window)
        )
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * side * side, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                # Eight layers without BatchNorm: from torch's own start the logits are all 0.03.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (batch, 3, image_size, image_size) to logits (batch, classes)."""
        x = self.block3(self.block2(self.block1(x)))
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


def alexnet(*, classes: int, image_size: int, dropout: float) -> nn.Module:
    """AlexNet for small images, 23.3 M parameters at 32 pixels."""
    return AlexNet(image_size, classes=classes, dropout=dropout)


def _convolution(channels_in: int, channels: int, *, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1),
        nn.ReLU(inplace=True),
    ]


def _pool(window: int) -> nn.Module:
    # Rounding up keeps a map of 1x1 pixels; where sizes are even it changes nothing.
    return nn.MaxPool2d(window, ceil_mode=True)


def _halved(side: int) -> int:
    return -(-side // 2)
