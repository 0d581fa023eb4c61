import pytest
import torch
from torch import nn

from compress.errors import ConfigError
from compress.models import registry
from compress.models.feature_hooks import default_taps, shapes, tapped
from compress.models.normalized import Normalized


def model_of(name: str, **options: str) -> nn.Module:
    return registry.build(name, classes=10, image_size=32, options=options)


@pytest.mark.parametrize("name", registry.names())
def test_every_model_has_stages_from_shallow_to_deep(name: str) -> None:
    model = model_of(name)
    sides = [shape[1] for shape in shapes(model, default_taps(model), image_size=32).values()]
    assert len(sides) >= 2
    assert sides == sorted(sides, reverse=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet50", [(256, 32, 32), (512, 16, 16), (1024, 8, 8), (2048, 4, 4)]),
        ("resnet14", [(64, 32, 32), (128, 16, 16), (256, 8, 8)]),
        ("resnet56", [(16, 32, 32), (32, 16, 16), (64, 8, 8)]),
        ("mobilenet_v2", [(24, 32, 32), (32, 16, 16), (96, 8, 8), (1280, 4, 4)]),
        ("small_cnn", [(32, 32, 32), (64, 16, 16), (128, 8, 8)]),
    ],
)
def test_shapes_of_the_stages(name: str, expected: list[tuple[int, ...]]) -> None:
    model = model_of(name)
    assert list(shapes(model, default_taps(model), image_size=32).values()) == expected


def test_features_are_the_outputs_of_the_modules() -> None:
    model = model_of("small_cnn").eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode(), tapped(model, ["stage1", "stage2.0"]) as features:
        model(images)
        stage1 = model.get_submodule("stage1")(images)
        stage2 = model.get_submodule("stage2.0")(model.get_submodule("pool")(stage1))
    assert list(features) == ["stage1", "stage2.0"]
    assert torch.equal(features["stage1"], stage1)
    assert torch.equal(features["stage2.0"], stage2)


def test_gradients_flow_through_features() -> None:
    model = model_of("small_cnn")
    with tapped(model, ["stage1"]) as features:
        model(torch.randn(2, 3, 32, 32))
    features["stage1"].square().sum().backward()
    assert model.get_submodule("stage1.0").weight.grad is not None


def test_each_pass_replaces_the_one_before() -> None:
    model = model_of("small_cnn").eval()
    with torch.inference_mode(), tapped(model, ["linear"]) as features:
        model(torch.zeros(1, 3, 32, 32))
        last = model(torch.ones(2, 3, 32, 32))
    assert torch.equal(features["linear"], last)


def test_hooks_are_gone_afterwards_also_after_an_error() -> None:
    model = model_of("small_cnn")
    with pytest.raises(KeyError), tapped(model, ["stage1"]):
        raise KeyError
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("path", ["layer1", "", "stage1.99"])
def test_an_unknown_path_is_refused_with_the_upper_ones(path: str) -> None:
    with (
        pytest.raises(ConfigError, match="unknown module path") as caught,
        tapped(model_of("small_cnn"), [path]),
    ):
        pass
    assert "stage1, stage1.0" in caught.value.hint


def test_taps_of_a_normalised_model_reach_inside() -> None:
    model = Normalized(model_of("small_cnn"), mean=(0.5,) * 3, std=(0.2,) * 3)
    assert default_taps(model) == ("model.stage1", "model.stage2", "model.stage3")
    assert shapes(model, default_taps(model), image_size=32)["model.stage3"] == (128, 8, 8)


def test_a_model_without_known_stages_asks_for_paths() -> None:
    with pytest.raises(ConfigError, match="stages of Linear are not known"):
        default_taps(nn.Linear(2, 2))


def test_measuring_shapes_leaves_the_model_as_it_was() -> None:
    model = model_of("resnet20")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    shapes(model, default_taps(model), image_size=32)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "path"), [("small_cnn", "stage1.1"), ("resnet50", "layer1.0.bn3")]
)
def test_an_output_that_is_changed_in_place_is_no_feature(name: str, path: str) -> None:
    """A ReLU follows the one, an addition the other: what was read would be another map."""
    model = model_of(name)
    with pytest.raises(ConfigError, match=f"{path} is changed in place") as refused:
        shapes(model, [path], image_size=32)
    assert "the block that holds both" in str(refused.value.hint)
    assert not [module for module in model.modules() if module._forward_hooks]


def test_the_output_of_an_operation_in_place_is_a_feature() -> None:
    assert shapes(model_of("small_cnn"), ["stage1.2"], image_size=32) == {"stage1.2": (32, 32, 32)}
