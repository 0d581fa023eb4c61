"""RandAugment's operations, against torchvision's transform with its choices forced."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from compress.data import randaugment
from compress.data.views import RANDAUGMENT_OPERATIONS

THEIR_NAMES = [
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness"),
    *("Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
]


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    """Smooth images, so that equalizing and stretching do something: uint8 (28, 3, 20, 20)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((28, 3, 5, 5), generator=generator) * 200 + 20
    return torch.nn.functional.interpolate(coarse, 20, mode="bilinear").to(torch.uint8)


def chosen(kind: int, sign: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((count, 1), kind), np.full((count, 1), sign)


def test_the_operations_are_torchvisions():
    assert list(v2.RandAugment._AUGMENTATION_SPACE) == THEIR_NAMES
    assert [name.replace("_", "") for name in RANDAUGMENT_OPERATIONS] == [
        name.lower() for name in THEIR_NAMES
    ]


@pytest.mark.parametrize("magnitude", [0, 9, 30])
@pytest.mark.parametrize("kind", range(len(RANDAUGMENT_OPERATIONS)))
@pytest.mark.parametrize("sign", [1, -1])
def test_an_operation_is_torchvisions_at_that_magnitude(kind, sign, magnitude, batch):
    theirs = v2.RandAugment(magnitude=magnitude)
    space, signed = theirs._AUGMENTATION_SPACE[THEIR_NAMES[kind]]
    levels = space(31, 20, 20)
    strength = 0.0 if levels is None else float(levels[magnitude]) * (sign if signed else 1)
    expected = torch.stack(
        [
            theirs._apply_image_or_video_transform(
                image, THEIR_NAMES[kind], strength, interpolation=theirs.interpolation, fill={}
            )
            for image in batch
        ]
    )
    found = randaugment.apply(batch, *chosen(kind, sign, len(batch)), magnitude=magnitude)
    difference = (found.int() - expected.int()).abs()
    assert difference.max() <= (1 if THEIR_NAMES[kind] in {"Brightness", "Color"} else 0)


def test_each_image_gets_its_own_operations_in_order(batch):
    rotate, invert_like = 5, 11  # rotate leaves black corners, solarize turns them white
    both = np.array([[rotate, invert_like], [invert_like, rotate]])
    found = randaugment.apply(batch[:2], both, np.ones((2, 2), dtype=np.int64), magnitude=30)
    assert (found[0][:, 0, 0] == 255).all()
    assert (found[1][:, 0, 0] == 0).all()


def test_the_given_images_are_left_alone(batch):
    before = batch.clone()
    randaugment.apply(batch, *chosen(11, 1, len(batch)), magnitude=30)
    assert torch.equal(batch, before)


def test_what_happens_to_an_image_does_not_depend_on_the_others(batch):
    drawn = np.random.default_rng(0)
    kinds = drawn.integers(len(RANDAUGMENT_OPERATIONS), size=(len(batch), 2))
    signs = drawn.choice([1, -1], size=(len(batch), 2))
    together = randaugment.apply(batch, kinds, signs, magnitude=9)
    for n in range(len(batch)):
        one = slice(n, n + 1)
        alone = randaugment.apply(batch[one], kinds[one], signs[one], magnitude=9)
        assert torch.equal(together[one], alone)
