"""The views whose numbers and pixels are frozen in views_frozen.json.

`python -m tests.data.frozen_views` writes the file anew. Do that only together with a higher
`compress.data.views.FORMAT`: stored soft labels belong to the bytes that are frozen here.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compress.config.specs import Augmentation
from compress.data import augment, random_words
from compress.data.views import View

FILE = Path(__file__).with_name("views_frozen.json")
COUNT, SIZE = 24, 16
SPECS: tuple[dict[str, Any], ...] = (
    {},
    {"crop_padding": 2},
    {"flip": True},
    {"crop_padding": 4, "flip": True},
    {"crop_padding": 4, "flip": True, "cutout": 5},
    {"rotation": 15.0},
    {"brightness": 0.4},
    {"contrast": 0.4},
    {"saturation": 0.4},
    {"hue": 0.1},
    {
        "crop_padding": 4,
        "flip": True,
        "rotation": 15.0,
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.2,
        "hue": 0.1,
    },
    {"crop_padding": 4, "flip": True, "mixup": 0.2},
    {"crop_padding": 4, "flip": True, "cutmix": 1.0},
    {"randaugment_ops": 2},
    {"randaugment_ops": 1, "randaugment_magnitude": 30},
)
KEYS = ((0, 0), (0, 17), (2**64 - 1, 1))


def images() -> torch.Tensor:
    """Noise of our own making: uint8 (24, 3, 16, 16), channels-last."""
    drawn = random_words.words(1, 2, 3, COUNT * SIZE * SIZE * 3)
    pixels = (drawn >> np.uint64(56)).astype(np.uint8).reshape(COUNT, SIZE, SIZE, 3)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def make_view(spec: dict[str, Any], seed: int, number: int) -> View:
    """A view of those images."""
    return View(
        dataset_sha256="0" * 64,
        split="train",
        count=COUNT,
        image_size=SIZE,
        augmentation=Augmentation(**spec),
        seed=seed,
        number=number,
    )


def sha256(array: np.ndarray) -> str:
    """Digest of an array's values in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def describe(spec: dict[str, Any], seed: int, number: int) -> dict[str, Any]:
    """Everything that is frozen about a view."""
    view = make_view(spec, seed, number)
    parameters = {
        name: sha256(value)
        for name, value in vars(view.parameters).items()
        if isinstance(value, np.ndarray)
    }
    pixels = augment.apply(images(), view.parameters, torch.arange(COUNT)).numpy()
    described: dict[str, Any] = {
        "augmentation": spec,
        "seed": seed,
        "number": number,
        "digest": view.digest,
        "order": view.order.tolist(),
        "parameters": parameters,
    }
    if "randaugment_ops" in spec:
        # torchvision computes these in floats of its own: frozen to a grey level, not to the byte.
        described["pixel_means"] = [round(float(image.mean()), 3) for image in pixels]
    else:
        described["pixels"] = sha256(pixels)
    return described


def describe_all() -> list[dict[str, Any]]:
    """The content of the file."""
    return [describe(spec, *key) for spec in SPECS for key in KEYS]


if __name__ == "__main__":
    FILE.write_text(json.dumps(describe_all(), indent=1) + "\n")
