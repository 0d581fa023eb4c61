import copy

import pytest
import torch
from torch import nn

from compress.models import registry
from compress.models.pointwise import MatmulConv2d, pointwise_as_matmul


def gradients(model: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(images).square().sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(6, 10, 1),
        nn.Conv2d(6, 10, 1, bias=False),
        nn.Conv2d(6, 10, 1, stride=2),
        nn.Conv2d(6, 10, 3, padding=1),
        nn.Conv2d(6, 10, 3, padding=1, stride=2),
        nn.Conv2d(6, 10, (3, 5), padding=(1, 2)),
    ],
    ids=["1x1", "no-bias", "stride", "3x3", "3x3-stride", "3x5"],
)
@pytest.mark.parametrize("side", [1, 2, 3, 4, 5])
def test_results_and_gradients_are_those_of_the_convolution(
    convolution: nn.Conv2d, side: int, layout: torch.memory_format
) -> None:
    model = nn.Sequential(copy.deepcopy(convolution)).double()
    product = copy.deepcopy(model)
    pointwise_as_matmul(product, max_map=4)
    images = torch.randn(3, 6, side, side, dtype=torch.float64).to(memory_format=layout)
    torch.testing.assert_close(product(images), model(images))
    ours, theirs = gradients(product, images), gradients(model, images)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name])


@pytest.mark.parametrize(
    ("side", "is_convolution"), [(1, False), (4, False), (5, True), (16, True)]
)
def test_only_small_maps_are_products(
    side: int, is_convolution: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1))
    pointwise_as_matmul(model, max_map=4)
    calls = []

    def convolve(*arguments: object) -> torch.Tensor:
        calls.append(arguments)
        return torch.zeros(1)

    monkeypatch.setattr(MatmulConv2d, "_conv_forward", convolve)
    model(torch.zeros(1, 2, side, side))
    assert bool(calls) == is_convolution


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(4, 4, 1, groups=4),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, padding="same"),
    ],
    ids=["depthwise", "groups", "unpadded", "even", "dilated", "reflect", "same"],
)
def test_other_convolutions_stay(convolution: nn.Conv2d) -> None:
    model = nn.Sequential(convolution)
    pointwise_as_matmul(model, max_map=4)
    assert model[0] is convolution


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "small_cnn"])
def test_whole_models_give_the_same_logits_and_keep_their_names(name: str) -> None:
    torch.manual_seed(0)
    model = registry.build(name, classes=10, image_size=8, options={})
    product = copy.deepcopy(model)
    pointwise_as_matmul(product, max_map=8)
    assert list(product.state_dict()) == list(model.state_dict())
    assert any(isinstance(module, MatmulConv2d) for module in product.modules())
    images = torch.randn(4, 3, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(
            product.eval()(images), model.eval()(images), rtol=1e-4, atol=1e-4
        )


def test_parameters_stay_the_same_objects() -> None:
    model = registry.build("mobilenet_v2", classes=10, image_size=8, options={})
    before = {name: id(parameter) for name, parameter in model.named_parameters()}
    state = torch.random.get_rng_state()
    pointwise_as_matmul(model, max_map=8)
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_short_formats_work_under_autocast() -> None:
    model = nn.Sequential(nn.Conv2d(6, 10, 1))
    pointwise_as_matmul(model, max_map=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(torch.randn(2, 6, 4, 4)).dtype == torch.bfloat16


def test_a_map_below_one_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="below one pixel"):
        pointwise_as_matmul(nn.Sequential(), max_map=0)
