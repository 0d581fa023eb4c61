"""The ResNets of torchvision, with a stem for small images, and two that are shorter."""

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from compress.models.options import STEM, WEIGHTS
from compress.models.pretrained import load_imagenet

OPTIONS = {"stem": STEM, "weights": WEIGHTS}
SHORT_CHANNELS = 256


def resnet8(*, classes: int, stem: str) -> nn.Module:
    """ResNet-14 with one block per stage instead of two: 1 + 3 x 2 + 1 layers, 1.2 M parameters."""
    return _short(1, classes, stem)


def resnet14(*, classes: int, stem: str) -> nn.Module:
    """ResNet-18 without its last stage: 1 + 3 x 4 + 1 layers, 2.8 M parameters."""
    return _short(2, classes, stem)


def resnet18(*, classes: int, stem: str, weights: str) -> nn.Module:
    """ResNet-18 of torchvision (He et al., CVPR 2016), 11.2 M parameters."""
    model = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=classes)
    return _finished("resnet18", model, stem, weights)


def resnet34(*, classes: int, stem: str, weights: str) -> nn.Module:
    """ResNet-34 of torchvision (He et al., CVPR 2016), 21.3 M parameters."""
    model = ResNet(BasicBlock, [3, 4, 6, 3], num_classes=classes)
    return _finished("resnet34", model, stem, weights)


def resnet50(*, classes: int, stem: str, weights: str) -> nn.Module:
    """ResNet-50 of torchvision (He et al., CVPR 2016), 23.5 M parameters."""
    model = ResNet(Bottleneck, [3, 4, 6, 3], num_classes=classes)
    return _finished("resnet50", model, stem, weights)


def _short(blocks: int, classes: int, stem: str) -> nn.Module:
    """Three stages of basic blocks; the fourth stays as an identity, so that forward works."""
    model = ResNet(BasicBlock, [blocks, blocks, blocks, 1], num_classes=classes)
    model.layer4 = nn.Identity()
    model.fc = nn.Linear(SHORT_CHANNELS, classes)
    return _with_stem(model, stem)


def _finished(name: str, model: nn.Module, stem: str, weights: str) -> nn.Module:
    _with_stem(model, stem)
    if weights == "imagenet":
        fresh = ("fc.", "conv1.") if stem == "cifar" else ("fc.",)
        load_imagenet(model, name, fresh=fresh)
    return model


def _with_stem(model: nn.Module, stem: str) -> nn.Module:
    """Replace the 7x7 stride-2 convolution and the pooling by one 3x3 convolution for `cifar`."""
    if stem == "cifar":
        convolution = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        model.conv1 = convolution
        model.maxpool = nn.Identity()
    return model
