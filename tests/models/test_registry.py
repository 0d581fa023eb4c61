import subprocess
import sys

import pytest
import torch

from compress.errors import ConfigError
from compress.models import registry

MODELS = registry.names()


def test_the_models_are_known() -> None:
    resnets = {f"resnet{depth}" for depth in (8, 14, 18, 20, 32, 34, 44, 50, 56, 110)}
    assert set(MODELS) == resnets | {"alexnet", "mobilenet_v2", "small_cnn", "two_block_cnn"}


def test_listing_models_does_not_import_torch() -> None:
    code = (
        "import sys; from compress.models import registry; registry.names();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("image_size", [8, 16, 32])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_on_small_images(name: str, image_size: int) -> None:
    model = registry.build(name, classes=7, image_size=image_size, options={})
    assert model.training
    logits = model(torch.randn(2, 3, image_size, image_size))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["alexnet", "mobilenet_v2", "resnet18", "small_cnn"])
def test_models_take_large_images(name: str) -> None:
    model = registry.build(name, classes=3, image_size=96, options={}).eval()
    with torch.inference_mode():
        assert model(torch.randn(1, 3, 96, 96)).shape == (1, 3)


@pytest.mark.parametrize("image_size", [13, 17])
@pytest.mark.parametrize(
    "name", ["alexnet", "mobilenet_v2", "resnet20", "resnet18", "small_cnn", "two_block_cnn"]
)
def test_models_take_odd_image_sizes(name: str, image_size: int) -> None:
    model = registry.build(name, classes=3, image_size=image_size, options={}).eval()
    with torch.inference_mode():
        assert model(torch.randn(1, 3, image_size, image_size)).shape == (1, 3)


@pytest.mark.parametrize("name", MODELS)
def test_equal_seeds_give_equal_weights(name: str) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(registry.build(name, classes=3, image_size=16, options={}).state_dict())
    first, again, other = states
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", MODELS)
def test_the_logits_of_an_untrained_model_are_of_order_one(name: str) -> None:
    torch.manual_seed(0)
    model = registry.build(name, classes=10, image_size=16, options={})
    spread = model(torch.randn(64, 3, 16, 16)).std().item()
    assert 0.02 < spread < 10


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_summary(name: str) -> None:
    assert len(registry.summary(name)) > 20


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown model 'resnet51'") as caught:
        registry.build("resnet51", classes=10, image_size=32, options={})
    assert "mobilenet_v2" in caught.value.hint


def test_an_unknown_option_is_refused_with_the_models_own() -> None:
    with pytest.raises(ConfigError, match="model small_cnn has no option 'depth'") as caught:
        registry.resolve_options("small_cnn", image_size=32, options={"depth": 3})
    assert caught.value.hint == "its options: width, dropout"


def test_a_model_without_options_says_so() -> None:
    with pytest.raises(ConfigError) as caught:
        registry.resolve_options("resnet56", image_size=32, options={"width": 2})
    assert caught.value.hint == "it has no options"


def test_options_are_resolved_by_image_size() -> None:
    assert registry.resolve_options("mobilenet_v2", image_size=32, options={"width": 1}) == {
        "width": 1.0,
        "stem_stride": 1,
        "stage2_stride": 1,
        "dropout": 0.2,
        "weights": "none",
    }
    large = registry.resolve_options("mobilenet_v2", image_size=96, options={"stem_stride": 1})
    assert (large["stem_stride"], large["stage2_stride"]) == (1, 2)
    assert registry.resolve_options("resnet50", image_size=64, options={})["stem"] == "cifar"
    assert registry.resolve_options("resnet50", image_size=65, options={})["stem"] == "imagenet"


def test_resolved_options_rebuild_the_same_network() -> None:
    options = registry.resolve_options("mobilenet_v2", image_size=96, options={"width": 0.5})
    first = registry.build("mobilenet_v2", classes=4, image_size=96, options={"width": 0.5})
    again = registry.build("mobilenet_v2", classes=4, image_size=96, options=options)
    again.load_state_dict(first.state_dict())
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        assert torch.equal(first.eval()(image), again.eval()(image))


def test_images_too_small_are_refused() -> None:
    with pytest.raises(ConfigError, match="images of 3 pixels"):
        registry.build("small_cnn", classes=10, image_size=3, options={})


def test_one_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 classes"):
        registry.build("small_cnn", classes=1, image_size=32, options={})
