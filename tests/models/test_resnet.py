import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50

from compress.models import registry


@pytest.mark.parametrize(("name", "original"), [("resnet18", resnet18), ("resnet50", resnet50)])
def test_the_imagenet_stem_is_torchvisions_network(name: str, original: type[nn.Module]) -> None:
    torch.manual_seed(0)
    theirs = original(num_classes=10).eval()
    ours = registry.build(name, classes=10, image_size=32, options={"stem": "imagenet"}).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(ours(images), theirs(images))


def test_the_cifar_stem_keeps_the_size_of_the_image() -> None:
    model = registry.build("resnet18", classes=10, image_size=32, options={})
    stem = model.get_submodule("maxpool")(model.get_submodule("conv1")(torch.zeros(1, 3, 32, 32)))
    assert stem.shape == (1, 64, 32, 32)


def test_resnet14_is_resnet18_without_its_last_stage() -> None:
    short = registry.build("resnet14", classes=10, image_size=32, options={}).state_dict()
    whole = registry.build("resnet18", classes=10, image_size=32, options={}).state_dict()
    expected = {k: v.shape for k, v in whole.items() if not k.startswith(("layer4.", "fc."))}
    assert {k: v.shape for k, v in short.items() if not k.startswith("fc.")} == expected
    assert short["fc.weight"].shape == (10, 256)


def test_resnet8_has_one_block_per_stage() -> None:
    model = registry.build("resnet8", classes=10, image_size=32, options={})
    stages = [model.get_submodule(f"layer{i}") for i in (1, 2, 3)]
    assert [len(stage) for stage in stages if isinstance(stage, nn.Sequential)] == [1, 1, 1]
