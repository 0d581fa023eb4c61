import pytest
import torch
from torch import nn

from compress.config.specs import Scalar
from compress.models import cost, registry
from compress.models.pointwise import pointwise_as_matmul


@pytest.mark.parametrize(
    ("name", "options", "millions", "mega_macs"),
    [
        ("mobilenet_v2", {"stem_stride": 2, "stage2_stride": 2}, 2.237, 6.1),
        ("mobilenet_v2", {"stem_stride": 1, "stage2_stride": 2}, 2.237, 24.5),
        ("mobilenet_v2", {}, 2.237, 88.0),
        ("resnet50", {"stem": "imagenet"}, 23.53, 83),
        ("resnet50", {}, 23.52, 1298),
        ("small_cnn", {}, 0.29, 38.6),
        ("two_block_cnn", {}, 1.1, None),
        ("resnet56", {}, 0.85, None),
    ],
)
def test_counted_models(
    name: str, options: dict[str, Scalar], millions: float, mega_macs: float | None
) -> None:
    model = registry.build(name, classes=10, image_size=32, options=options)
    digits = len(str(millions).partition(".")[2])
    assert round(cost.parameters(model) / 1e6, digits) == millions
    if mega_macs is not None:
        digits = 1 if isinstance(mega_macs, float) else 0
        assert round(cost.macs(model, 32) / 1e6, digits) == mega_macs


@pytest.mark.parametrize(
    ("name", "layers"),
    [("resnet8", 8), ("resnet14", 14), ("resnet18", 18), ("resnet34", 34), ("resnet50", 50)]
    + [(f"resnet{depth}", depth) for depth in (20, 32, 44, 56, 110)],
)
def test_a_resnet_has_as_many_layers_as_its_name_says(name: str, layers: int) -> None:
    model = registry.build(name, classes=10, image_size=32, options={})
    counted = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in path
    ]
    assert len(counted) == layers


@pytest.mark.parametrize(
    ("name", "parameters"),
    # He et al., 2016, table 6 (0.27, 0.46, 0.66, 0.85, 1.7 M)
    [
        ("resnet20", 0.27),
        ("resnet32", 0.46),
        ("resnet44", 0.66),
        ("resnet56", 0.85),
        ("resnet110", 1.73),
    ],
)
def test_cifar_resnets_have_the_papers_sizes(name: str, parameters: float) -> None:
    model = registry.build(name, classes=10, image_size=32, options={})
    assert round(cost.parameters(model) / 1e6, 2) == parameters


def test_macs_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Flatten(),
        nn.Linear(8 * 4 * 4, 5),
    )
    assert cost.macs(model, 8) == 16 * 8 * 3 * 9 + 16 * 8 * 9 + 8 * 16 * 5


def test_macs_of_products_are_those_of_the_convolutions() -> None:
    model = registry.build("resnet50", classes=10, image_size=8, options={})
    before = cost.macs(model, 8)
    pointwise_as_matmul(model, max_map=8)
    assert cost.macs(model, 8) == before


def test_counting_leaves_the_model_as_it_was() -> None:
    model = registry.build("small_cnn", classes=10, image_size=16, options={})
    model.get_submodule("stage1").eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    cost.macs(model, 16)
    assert model.training
    assert not model.get_submodule("stage1").training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
