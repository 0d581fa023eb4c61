import pytest
import torch
from torchvision.models import mobilenet_v2

from compress.models import cost, registry


def test_strides_of_two_are_torchvisions_network() -> None:
    torch.manual_seed(0)
    theirs = mobilenet_v2(num_classes=10).eval()
    options = {"stem_stride": 2, "stage2_stride": 2}
    ours = registry.build("mobilenet_v2", classes=10, image_size=32, options=options).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(ours(images), theirs(images))


def test_half_width_is_torchvisions() -> None:
    ours = registry.build("mobilenet_v2", classes=100, image_size=32, options={"width": 0.5})
    assert cost.parameters(ours) == cost.parameters(mobilenet_v2(num_classes=100, width_mult=0.5))


@pytest.mark.parametrize(
    ("stem", "stage2", "side"), [(1, 1, 32), (1, 2, 16), (2, 1, 16), (2, 2, 8)]
)
def test_strides_decide_the_size_of_the_second_stage(stem: int, stage2: int, side: int) -> None:
    options = {"stem_stride": stem, "stage2_stride": stage2}
    model = registry.build("mobilenet_v2", classes=10, image_size=32, options=options)
    features = model.get_submodule("features")[:4]
    assert features(torch.zeros(2, 3, 32, 32)).shape == (2, 24, side, side)


def test_dropout_is_an_option() -> None:
    model = registry.build("mobilenet_v2", classes=10, image_size=32, options={"dropout": 0})
    assert model.get_submodule("classifier.0").p == 0.0
