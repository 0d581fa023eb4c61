"""Colours of batches, against torchvision's functionals one image at a time."""

import pytest
import torch
from torchvision.transforms.v2 import functional

from compress.data.color_jitter import ADJUSTMENTS

THEIRS = {
    "brightness": functional.adjust_brightness,
    "contrast": functional.adjust_contrast,
    "saturation": functional.adjust_saturation,
    "hue": functional.adjust_hue,
}
NEUTRAL = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    """Noise, and images of few values, whose greys and saturated colours are the odd cases."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (120, 3, 16, 16), dtype=torch.uint8, generator=generator)
    noise[:60] = noise[:60] // 127 * 127
    noise[:10, 1:] = noise[:10, :1]
    return noise


def amounts(name: str) -> torch.Tensor:
    low, high = (-512, 512) if name == "hue" else (0, 2048)
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(low, high + 1, (120,), generator=generator) / 1024
    drawn[:3] = torch.tensor([low, high, 1024 * NEUTRAL[name]]) / 1024
    return drawn


@pytest.mark.parametrize("name", list(ADJUSTMENTS))
def test_each_image_gets_what_torchvision_gives_it(name, batch):
    values = amounts(name)
    found = ADJUSTMENTS[name](batch, values)
    expected = torch.stack(
        [THEIRS[name](image, float(v)) for image, v in zip(batch, values, strict=True)]
    )
    difference = (found.int() - expected.int()).abs()
    # Contrast rounds the mean grey; hue divides, in another order.
    allowed = {"brightness": 0.0, "saturation": 1e-4, "contrast": 0.3, "hue": 1e-3}[name]
    assert difference.max() <= (0 if name == "brightness" else 1)
    assert (difference > 0).float().mean() <= allowed


@pytest.mark.parametrize("name", list(ADJUSTMENTS))
def test_the_neutral_amount_changes_nothing(name, batch):
    values = torch.full((len(batch),), NEUTRAL[name])
    assert torch.equal(ADJUSTMENTS[name](batch, values), batch)


def test_hue_turns_red_to_green_to_blue():
    red = torch.tensor([200, 0, 0], dtype=torch.uint8).reshape(1, 3, 1, 1).repeat(2, 1, 1, 1)
    turned = ADJUSTMENTS["hue"](red, torch.tensor([341 / 1024, -341 / 1024]))
    # 341/1024 is a third of a turn less 1/3072: a 200 * 6 / 3072 of the next colour stays.
    assert turned[0].flatten().tolist() == [0, 200, 0]
    assert turned[1].flatten().tolist() == [0, 0, 200]


def test_contrast_by_hand():
    image = torch.tensor([[[[0, 100]]] * 3], dtype=torch.uint8).reshape(1, 3, 1, 2)
    # Luma weights sum to 0.9999: greys 0 and 99, their mean 49.5 rounds to 50.
    found = ADJUSTMENTS["contrast"](image, torch.tensor([0.5]))
    assert found[0, 0].flatten().tolist() == [25, 75]


def test_saturation_by_hand():
    image = torch.tensor([100, 50, 200], dtype=torch.uint8).reshape(1, 3, 1, 1)
    # Grey 0.2989 * 100 + 0.587 * 50 + 0.114 * 200 = 82.04.
    found = ADJUSTMENTS["saturation"](image, torch.tensor([1.5]))
    assert found.flatten().tolist() == [109, 34, 255]
