"""The MobileNetV2 of torchvision, with strides for small images."""

from torch import nn
from torchvision.models.mobilenetv2 import MobileNetV2

from compress.models.options import WEIGHTS, WIDTH, Option, by_image_size, dropout
from compress.models.pretrained import load_imagenet

STRIDE = Option(by_image_size(1, 2), choices=(1, 2))
OPTIONS = {
    "width": WIDTH,
    "stem_stride": STRIDE,
    "stage2_stride": STRIDE,
    "dropout": dropout(0.2),
    "weights": WEIGHTS,
}


def mobilenet_v2(
    *,
    classes: int,
    width: float,
    stem_stride: int,
    stage2_stride: int,
    dropout: float,
    weights: str,
) -> nn.Module:
    """MobileNetV2 of torchvision (Sandler et al., CVPR 2018), 2.2 M parameters at width 1."""
    # Expansion, channels, blocks, stride of each stage: table 2 of the paper.
    stages = [
        [1, 16, 1, 1],
        [6, 24, 2, stage2_stride],
        [6, 32, 3, 2],
        [6, 64, 4, 2],
        [6, 96, 3, 1],
        [6, 160, 3, 2],
        [6, 320, 1, 1],
    ]
    model = MobileNetV2(
        num_classes=classes, width_mult=width, inverted_residual_setting=stages, dropout=dropout
    )
    model.features[0][0].stride = (stem_stride, stem_stride)
    for module in model.modules():
        if isinstance(module, nn.ReLU6):
            # In place it copies its input for the backward pass first: the same memory, more time.
            module.inplace = False
    finished: nn.Module = model
    if weights == "imagenet":
        load_imagenet(finished, "mobilenet_v2", fresh=("classifier.",))
    return finished
