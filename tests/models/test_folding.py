from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from compress.models import registry
from compress.models.depthwise import depthwise_in_float32
from compress.models.feature_hooks import default_taps, tapped
from compress.models.folding import fold_batchnorm
from compress.models.pointwise import pointwise_as_matmul


def calibrated(name: str) -> nn.Module:
    """A model whose BatchNorms have the statistics of random images and random scales."""
    torch.manual_seed(0)
    model = registry.build(name, classes=10, image_size=16, options={})
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.1)
    with torch.no_grad():
        model(torch.randn(32, 3, 16, 16))
    return model


@pytest.mark.parametrize("name", registry.names())
def test_logits_are_equal_and_no_batchnorm_is_left(name: str) -> None:
    model = calibrated(name)
    folded = fold_batchnorm(model)
    images = torch.randn(4, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(folded(images), model.eval()(images), rtol=0, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_the_model_itself_is_not_touched() -> None:
    model = calibrated("small_cnn")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fold_batchnorm(model)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "resnet18"])
def test_features_can_be_tapped_at_the_same_paths(name: str) -> None:
    model = calibrated(name).eval()
    folded = fold_batchnorm(model)
    images, paths = torch.randn(2, 3, 16, 16), default_taps(model)
    with torch.inference_mode(), tapped(model, paths) as ours, tapped(folded, paths) as theirs:
        model(images)
        folded(images)
    for path in paths:
        torch.testing.assert_close(ours[path], theirs[path], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "convert",
    [
        partial(pointwise_as_matmul, max_map=8),
        partial(depthwise_in_float32, strided_only=False),
    ],
    ids=["products", "float32"],
)
def test_converted_convolutions_fold_like_the_others(convert: Callable[..., None]) -> None:
    model = calibrated("mobilenet_v2").eval()
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        expected = model(images)
        convert(model)
        torch.testing.assert_close(fold_batchnorm(model)(images), expected, rtol=0, atol=1e-4)


class Shared(nn.Module):
    """A convolution whose output is used beside its BatchNorm too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        normed: Tensor = self.bn(y)
        return normed + y


class Twice(nn.Module):
    """A convolution that runs twice, once with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(self.bn(self.conv(x)))
        return result


@pytest.mark.parametrize("model", [Shared(), Twice(), nn.Sequential(nn.BatchNorm2d(3))])
def test_what_cannot_be_folded_is_refused(model: nn.Module) -> None:
    with pytest.raises(ValueError, match="does not follow one convolution"):
        fold_batchnorm(model)
