"""The pairs of teacher and student that distill_throughput.py times, and what they are fed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from compress.config.specs import ModelSpec
from compress.data.images import ImageSet
from compress.models import registry as models
from compress.training.device import synchronize

CLASSES = 10
IMAGE_SIZE = 32
ALPHA = 0.9
TEMPERATURE = 4.0
MEAN = STD = (0.5, 0.5, 0.5)
COMPANY = 4
CUDA_STEPS = 200
"""Timed steps of a round on a GPU: twelve would be over in tens of milliseconds."""


@dataclass(frozen=True)
class Pair:
    """A teacher and a student.

    Attributes:
        teacher: Model and options.
        student: Model and options.
        steps: Timed steps of each variant in a round, on a CPU unless told.
        company: Whether four students at once are timed as well.
    """

    teacher: ModelSpec
    student: ModelSpec
    steps: int
    company: bool = False


PAIRS = {
    "W1": Pair(
        ModelSpec.parse("resnet50:stem=imagenet"),
        ModelSpec.parse("mobilenet_v2:stem_stride=2,stage2_stride=2"),
        steps=12,
    ),
    "W2": Pair(ModelSpec.parse("resnet56"), ModelSpec.parse("small_cnn"), steps=12, company=True),
    "W3": Pair(
        ModelSpec.parse("resnet50:stem=cifar"),
        ModelSpec.parse("mobilenet_v2:stem_stride=1,stage2_stride=1"),
        steps=3,
    ),
}


def pair_of(name: str, *, steps: int, device: torch.device) -> Pair:
    """A pair with the steps that it is timed for.

    Args:
        name: One of `PAIRS`.
        steps: Of a round; 0 leaves them to the pair and the device.
        device: Where to compute.
    """
    pair = PAIRS[name]
    if not steps:
        steps = pair.steps if device.type == "cpu" else max(pair.steps, CUDA_STEPS)
    return replace(pair, steps=steps)


def build(spec: ModelSpec) -> nn.Module:
    """A network with random weights."""
    torch.manual_seed(0)
    return models.build(spec.name, classes=CLASSES, image_size=IMAGE_SIZE, options=spec.options)


def random_images(count: int) -> ImageSet:
    """Noise in the shape of CIFAR-10."""
    draw = np.random.default_rng(0)
    shape = (count, IMAGE_SIZE, IMAGE_SIZE, 3)
    return ImageSet(
        "noise",
        draw.integers(0, 256, shape, dtype=np.uint8),
        draw.integers(0, CLASSES, count),
        tuple(str(number) for number in range(CLASSES)),
    )


def timed(work: Callable[[], None], device: torch.device) -> float:
    """Seconds that some work takes, the device's share included."""
    synchronize(device)
    begin = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - begin
