"""A view: one augmented sweep over the training images that can be replayed anywhere.

A view fixes the order of the images and, for each image, everything random about its augmentation.
All of it comes from Philox words keyed by (view seed, view number), one stream per quantity and one
word per image, so it does not depend on batch size, workers, process or machine, and switching one
augmentation on leaves the others as they were. Magnitudes lie on coarse binary grids: the pixel
arithmetic of `compress.data.augment` is then exact, and rounding of the host's mathematical
functions cannot leak into them.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from compress.config.specs import Augmentation
from compress.data import random_words

# Raise it whenever one number or one byte of a view changes: stored soft labels then miss.
FORMAT = 1
FACTOR_STEPS = 1024  # colour factors and hue turns are multiples of 1/1024
ANGLE_STEPS = 64  # angles are multiples of 1/64 degree
WEIGHT_STEPS = 256  # mixing weights are multiples of 1/256
RANDAUGMENT_OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
_STREAMS = {
    "order": 0,
    "crop_x": 1,
    "crop_y": 2,
    "flip": 3,
    "cutout_x": 4,
    "cutout_y": 5,
    "brightness": 6,
    "contrast": 7,
    "saturation": 8,
    "hue": 9,
    "rotation": 10,
    "partner": 11,
    "mix_radius": 12,
    "mix_angle": 13,
    "box_x": 14,
    "box_y": 15,
    "operation": 32,  # + 2 per further operation
    "sign": 33,  # + 2 per further operation
}


@dataclass(frozen=True, eq=False)
class Parameters:
    """What a view does to each image; every array is indexed by image. None: not done.

    Attributes:
        augmentation: The settings these were drawn for.
        image_size: Side of the images, in pixels.
        crop_x: int64 (count,), left edge of the crop in the padded image, 0 to 2 * padding.
        crop_y: int64 (count,), top edge of the crop in the padded image, 0 to 2 * padding.
        flip: bool (count,), whether the crop is mirrored left to right.
        rotation: float32 (count,), degrees counter-clockwise.
        brightness: float32 (count,), factor.
        contrast: float32 (count,), factor.
        saturation: float32 (count,), factor.
        hue: float32 (count,), turns of the colour circle.
        operations: int64 (count, operations), indices into `RANDAUGMENT_OPERATIONS`, in order.
        signs: int64 (count, operations), 1 or -1: the direction of an operation that has one.
        cutout_x: int64 (count,), column of the square's centre, 0 to image_size - 1.
        cutout_y: int64 (count,), row of the square's centre, 0 to image_size - 1.
        partner: int64 (count,), the image that is mixed in, after its own augmentation. Each
            image is the partner of one; an image may be its own.
        weight: float32 (count,), share of the image itself, 0 to 1; the rest is its partner's.
        box: int64 (count, 4), left, top, right, bottom of what cutmix pastes from the partner;
            right and bottom are outside.
    """

    augmentation: Augmentation
    image_size: int
    crop_x: NDArray[np.int64] | None = None
    crop_y: NDArray[np.int64] | None = None
    flip: NDArray[np.bool_] | None = None
    rotation: NDArray[np.float32] | None = None
    brightness: NDArray[np.float32] | None = None
    contrast: NDArray[np.float32] | None = None
    saturation: NDArray[np.float32] | None = None
    hue: NDArray[np.float32] | None = None
    operations: NDArray[np.int64] | None = None
    signs: NDArray[np.int64] | None = None
    cutout_x: NDArray[np.int64] | None = None
    cutout_y: NDArray[np.int64] | None = None
    partner: NDArray[np.int64] | None = None
    weight: NDArray[np.float32] | None = None
    box: NDArray[np.int64] | None = None


class View:
    """One augmented sweep over a set of training images.

    Args:
        dataset_sha256: Digest of the images (`ImageSet.sha256`); names the view, draws nothing.
        split: Which split they are: "train".
        count: How many images there are.
        image_size: Their side, in pixels.
        augmentation: What is done to them.
        seed: The family of views, 0 to 2**64 - 1.
        number: Which member of the family, 0 to 2**32 - 1.

    Raises:
        ValueError: A number is outside its range.
    """

    def __init__(
        self,
        *,
        dataset_sha256: str,
        split: str,
        count: int,
        image_size: int,
        augmentation: Augmentation,
        seed: int,
        number: int,
    ) -> None:
        if not 0 <= number < 2**32:
            raise ValueError(f"view number {number} is not between 0 and 2**32 - 1")
        self.dataset_sha256 = dataset_sha256
        self.split = split
        self.count = count
        self.image_size = image_size
        self.augmentation = augmentation
        self.seed = seed
        self.number = number

    def __repr__(self) -> str:
        return f"View(seed={self.seed}, number={self.number}, digest={self.digest[:12]})"

    @cached_property
    def digest(self) -> str:
        """Hex sha256 over the data, the settings, seed, number and the format of views."""
        spec = self.augmentation.model_dump(exclude_defaults=True)
        if self.augmentation.randaugment_ops:
            spec["randaugment_magnitude"] = self.augmentation.randaugment_magnitude
        else:
            spec.pop("randaugment_magnitude", None)
        identity = {
            "format": FORMAT,
            "dataset_sha256": self.dataset_sha256,
            "split": self.split,
            "count": self.count,
            "image_size": self.image_size,
            "augmentation": spec,
            "seed": self.seed,
            "number": self.number,
        }
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The images in the order of the sweep: a permutation, int64 (count,)."""
        return random_words.permutation(self._words("order"))

    @cached_property
    def parameters(self) -> Parameters:
        """What happens to each image."""
        asked = self.augmentation
        drawn: dict[str, NDArray[np.generic]] = {}
        if asked.crop_padding:
            for name in ("crop_x", "crop_y"):
                drawn[name] = random_words.integers(self._words(name), 2 * asked.crop_padding + 1)
        if asked.flip:
            drawn["flip"] = random_words.integers(self._words("flip"), 2) == 1
        if asked.rotation:
            drawn["rotation"] = self._grid("rotation", 0.0, asked.rotation, ANGLE_STEPS)
        for name in ("brightness", "contrast", "saturation"):
            if spread := getattr(asked, name):
                drawn[name] = self._grid(name, 1.0, spread, FACTOR_STEPS)
        if asked.hue:
            drawn["hue"] = self._grid("hue", 0.0, asked.hue, FACTOR_STEPS)
        if asked.randaugment_ops:
            steps = range(asked.randaugment_ops)
            kinds = len(RANDAUGMENT_OPERATIONS)
            drawn["operations"] = np.stack(
                [random_words.integers(self._words("operation", k), kinds) for k in steps], axis=1
            )
            drawn["signs"] = np.stack(
                [1 - 2 * random_words.integers(self._words("sign", k), 2) for k in steps], axis=1
            )
        if asked.cutout:
            for name in ("cutout_x", "cutout_y"):
                drawn[name] = random_words.integers(self._words(name), self.image_size)
        if asked.mixes:
            drawn["partner"] = random_words.permutation(self._words("partner"))
            weight = self._beta(asked.mixup or asked.cutmix)
            if asked.cutmix:
                drawn["box"] = box = self._boxes(weight)
                area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
                weight = 1.0 - area / self.image_size**2
            drawn["weight"] = weight.astype(np.float32)
        return Parameters(asked, self.image_size, **drawn)  # type: ignore[arg-type]

    def _words(self, quantity: str, repeat: int = 0) -> random_words.Words:
        """One word per image."""
        stream = _STREAMS[quantity] + 2 * repeat
        return random_words.words(self.seed, self.number, stream, self.count)

    def _grid(self, quantity: str, middle: float, spread: float, steps: int) -> NDArray[np.float32]:
        """Multiples of 1/steps from middle - spread to middle + spread, each equally likely."""
        low, high = round((middle - spread) * steps), round((middle + spread) * steps)
        chosen = low + random_words.integers(self._words(quantity), high - low + 1)
        return (chosen / steps).astype(np.float32)

    def _beta(self, alpha: float) -> NDArray[np.float64]:
        """Weights from Beta(alpha, alpha), rounded to multiples of 1/256, float64 (count,).

        Two words per image and no rejection, for any alpha above 0.

        Source:
            Devroye, "Random variate generation in one line of code", 1996, section 3: the
            symmetric beta from a polar method.
        """
        radius = random_words.uniforms(self._words("mix_radius"))
        cosine = np.cos(2 * np.pi * random_words.uniforms(self._words("mix_angle")))
        with np.errstate(over="ignore", divide="ignore"):
            inverse = 1.0 / (np.expm1(-np.log(radius) / alpha) * cosine**2)
        weight = 0.5 + np.copysign(0.5, cosine) / np.sqrt(1.0 + inverse)
        steps: NDArray[np.float64] = np.rint(weight * WEIGHT_STEPS)
        return steps / WEIGHT_STEPS

    def _boxes(self, weight: NDArray[np.float64]) -> NDArray[np.int64]:
        """Squares of area 1 - weight around random centres, cut off at the edges: (count, 4).

        Source:
            Yun et al., "CutMix", ICCV 2019, section 3.1.
        """
        half = (self.image_size * np.sqrt(1.0 - weight)).astype(np.int64) // 2
        edges = []
        for direction in (-1, 1):
            for name in ("box_x", "box_y"):
                centre = random_words.integers(self._words(name), self.image_size)
                edges.append(np.clip(centre + direction * half, 0, self.image_size))
        return np.stack(edges, axis=1)
