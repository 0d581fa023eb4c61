from pathlib import Path

import pytest
import safetensors.torch
import torch

from compress.models import registry
from compress.models.resnet_cifar import BasicBlock


def test_the_shortcut_takes_every_second_pixel_and_pads_channels_on_both_sides() -> None:
    block = BasicBlock(2, 4, stride=2).eval()
    for name in ("conv1", "conv2"):
        torch.nn.init.zeros_(block.get_parameter(f"{name}.weight"))
    image = torch.arange(32, dtype=torch.float32).reshape(1, 2, 4, 4)
    expected = torch.zeros(1, 4, 2, 2)
    expected[0, 1] = torch.tensor([[0.0, 2.0], [8.0, 10.0]])
    expected[0, 2] = torch.tensor([[16.0, 18.0], [24.0, 26.0]])
    assert torch.equal(block(image), expected)


def test_parameter_names_are_those_of_published_checkpoints() -> None:
    names = set(registry.build("resnet20", classes=10, image_size=32, options={}).state_dict())
    expected = {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "linear.bias"}
    assert expected | {"layer3.2.bn2.bias", "layer2.0.conv2.weight"} <= names
    assert not any("shortcut" in name or "downsample" in name for name in names)


@pytest.mark.data
def test_the_published_resnet56_loads_strictly(teacher_file: Path) -> None:
    model = registry.build("resnet56", classes=10, image_size=32, options={})
    result = model.load_state_dict(safetensors.torch.load_file(teacher_file), strict=True)
    assert not result.missing_keys
    assert not result.unexpected_keys
