"""Rotation of batches, against exact quarter turns and torchvision."""

import pytest
import torch
from torchvision.transforms.v2 import functional

from compress.data.rotation import rotate


def noise(count: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, height, width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("size", [7, 8])
def test_quarter_turns_are_exact_and_counter_clockwise(size):
    batch = noise(5, size, size)
    turned = rotate(batch, torch.tensor([0.0, 90.0, 180.0, -90.0, -180.0]))
    for image, result, quarters in zip(batch, turned, (0, 1, 2, 3, 2), strict=True):
        assert torch.equal(result, torch.rot90(image, quarters, (0, 1)))


@pytest.mark.parametrize("shape", [(32, 32), (33, 33), (8, 8), (12, 20)])
def test_rotations_are_torchvisions(shape):
    batch = noise(200, *shape)
    generator = torch.Generator().manual_seed(1)
    degrees = torch.randint(-180 * 64, 180 * 64 + 1, (200,), generator=generator) / 64
    turned = rotate(batch, degrees)
    expected = torch.stack(
        [
            functional.rotate(image.permute(2, 0, 1), float(angle)).permute(1, 2, 0)
            for image, angle in zip(batch, degrees, strict=True)
        ]
    )
    # Only positions halfway between two pixels may be rounded the other way.
    assert (turned != expected).any(dim=3).float().mean() < 1e-3


def test_what_comes_from_outside_is_black():
    turned = rotate(torch.full((1, 16, 16, 3), 255, dtype=torch.uint8), torch.tensor([45.0]))[0]
    corners = turned[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).all()
    assert (turned[8, 8] == 255).all()
