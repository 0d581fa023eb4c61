import pytest
import torch
from torch import nn

from compress.models import registry


def test_five_convolutions_three_poolings_three_linear_layers() -> None:
    model = registry.build("alexnet", classes=10, image_size=32, options={})
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.Linear)
    assert [sum(isinstance(m, kind) for m in model.modules()) for kind in kinds] == [5, 3, 3]


@pytest.mark.parametrize(
    ("image_size", "side"), [(8, 1), (16, 1), (32, 2), (33, 2), (48, 2), (64, 2), (224, 2)]
)
def test_the_last_map_is_at_most_two_pixels_wide(image_size: int, side: int) -> None:
    model = registry.build("alexnet", classes=10, image_size=image_size, options={}).eval()
    x = torch.zeros(1, 3, image_size, image_size)
    for block in ("block1", "block2", "block3"):
        x = model.get_submodule(block)(x)
    assert x.shape == (1, 256, side, side)
    assert model.get_submodule("classifier.1").in_features == 256 * side * side
