import pytest
import torch
from torch import nn

from compress.models import registry


def channels(model: nn.Module) -> list[int]:
    return [module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d)]


def test_six_dense_convolutions() -> None:
    model = registry.build("small_cnn", classes=10, image_size=32, options={})
    assert channels(model) == [32, 32, 64, 64, 128, 128]
    assert all(m.groups == 1 for m in model.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize(
    ("width", "expected"), [(0.5, [16, 16, 32, 32, 64, 64]), (0.1, [8, 8, 8, 8, 16, 16])]
)
def test_width_scales_channels_in_steps_of_eight(width: float, expected: list[int]) -> None:
    model = registry.build("small_cnn", classes=10, image_size=32, options={"width": width})
    assert channels(model) == expected


def test_two_blocks_and_three_linear_layers() -> None:
    model = registry.build("two_block_cnn", classes=10, image_size=32, options={})
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.Linear)
    counts = [sum(isinstance(m, kind) for m in model.modules()) for kind in kinds]
    assert counts == [2, 2, 2, 3]


@pytest.mark.parametrize("name", ["small_cnn", "two_block_cnn"])
def test_dropout_acts_in_training_only(name: str) -> None:
    model = registry.build(name, classes=10, image_size=16, options={"dropout": 0.5})
    images = torch.randn(2, 3, 16, 16)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))
