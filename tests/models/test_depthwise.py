import copy

import pytest
import torch
from torch import nn

from compress.models import registry
from compress.models.depthwise import Float32Conv2d, depthwise_in_float32, is_depthwise

MODEL = nn.Sequential(
    nn.Conv2d(3, 8, 1),
    nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
    nn.Conv2d(8, 8, 3, padding=1, groups=8, stride=2),
)


def results(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """The output and every gradient."""
    model.zero_grad()
    out = model(images)
    out.float().square().sum().backward()
    return [out.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("strided_only", [False, True])
def test_without_autocast_nothing_changes(strided_only: bool) -> None:
    torch.manual_seed(0)
    model, images = copy.deepcopy(MODEL), torch.randn(4, 3, 8, 8)
    before = results(model, images)
    depthwise_in_float32(model, strided_only=strided_only)
    for ours, theirs in zip(results(model, images), before, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("strided_only", "expected"), [(False, [1, 2]), (True, [2])])
def test_only_depthwise_convolutions_are_converted(strided_only: bool, expected: list[int]) -> None:
    model = copy.deepcopy(MODEL)
    depthwise_in_float32(model, strided_only=strided_only)
    assert [n for n, m in enumerate(model) if isinstance(m, Float32Conv2d)] == expected


@pytest.mark.parametrize(
    ("convolution", "expected"),
    [
        (nn.Conv2d(4, 4, 3, groups=4), True),
        (nn.Conv2d(4, 8, 3, groups=4), True),
        (nn.Conv2d(4, 4, 3, groups=2), False),
        (nn.Conv2d(1, 4, 3), False),
        (nn.Linear(4, 4), False),
    ],
    ids=["depthwise", "multiplied", "grouped", "one-channel", "linear"],
)
def test_depthwise_means_each_channel_by_itself(convolution: nn.Module, expected: bool) -> None:
    assert is_depthwise(convolution) == expected


def test_under_autocast_the_sums_are_those_of_float32() -> None:
    """The input is rounded to bfloat16 by the layer before; nothing else is until the output."""
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, stride=2, groups=6))
    images = torch.randn(4, 6, 8, 8).bfloat16()
    exact = layer(images.float())
    plain = copy.deepcopy(layer)
    depthwise_in_float32(layer, strided_only=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = results(layer, images)
        theirs = results(plain, images)
    assert ours[0].dtype == torch.bfloat16
    assert torch.equal(ours[0], exact.bfloat16())
    assert [g.dtype for g in ours[1:]] == [torch.float32, torch.float32]
    # bfloat16's own gradients are near, and not the same: the layer was not left as it was.
    torch.testing.assert_close(ours[1], theirs[1], rtol=0.05, atol=0.5)
    assert not torch.equal(ours[1], theirs[1])


def test_parameters_and_names_stay_and_nothing_is_drawn() -> None:
    model = registry.build("mobilenet_v2", classes=10, image_size=8, options={})
    before = {name: id(parameter) for name, parameter in model.named_parameters()}
    names, state = list(model.state_dict()), torch.random.get_rng_state()
    depthwise_in_float32(model, strided_only=False)
    assert sum(isinstance(module, Float32Conv2d) for module in model.modules()) == 17
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == before
    assert list(model.state_dict()) == names
    assert torch.equal(torch.random.get_rng_state(), state)
