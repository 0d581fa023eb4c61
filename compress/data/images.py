"""Labelled images as NumPy arrays, and the three splits a run works with."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from compress.data import random_words
from compress.errors import ConfigError

BLOCK = 512
SPLIT_STREAM = 0x73706C6974  # "split": no view is keyed with this number


class Pixels(Protocol):
    """What an `ImageSet` asks of its images: a NumPy array, a memmap, or rows read from disk.

    Attributes:
        shape: (count, height, width, channels).
        dtype: uint8.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(count, height, width, channels)."""
        ...

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """uint8."""
        ...

    def __getitem__(self, rows: slice | NDArray[np.int64], /) -> NDArray[np.uint8]:
        """The images of these rows, uint8 (rows, height, width, channels), in that order."""
        ...


@dataclass(frozen=True)
class Rows:
    """Some rows of images that are not held in memory, in a chosen order; nothing is copied."""

    source: Pixels
    indices: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, height, width, channels)."""
        return (len(self.indices), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """uint8."""
        return self.source.dtype

    def __getitem__(self, rows: slice | NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Read the chosen rows from the source."""
        return self.source[self.indices[rows]]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Square RGB images of one size, with their classes where these are known.

    Attributes:
        name: What the images are called in messages: "cifar10 train".
        images: uint8 (count, size, size, channels), RGB. An array in memory, or anything that
            reads rows on demand (`Pixels`), for sets that do not fit.
        labels: int64 (count,), each 0 to classes - 1; None when the images are unlabelled.
        class_names: One name per class, in the order of the labels.

    Raises:
        ValueError: Shapes, types or labels do not fit together.
    """

    name: str
    images: Pixels
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if len(shape) != 4 or shape[1] != shape[2] or self.images.dtype != np.uint8:
            raise ValueError(
                f"{self.name}: images of shape {shape} and type {self.images.dtype} "
                "are not uint8 (count, size, size, channels)"
            )
        if self.labels is None:
            return
        if self.labels.shape != shape[:1] or self.labels.dtype != np.int64:
            raise ValueError(
                f"{self.name}: labels of shape {self.labels.shape} and type {self.labels.dtype} "
                f"do not fit images of shape {shape}"
            )
        if self.count and not 0 <= self.labels.min() <= self.labels.max() < self.classes:
            raise ValueError(
                f"{self.name}: labels from {self.labels.min()} to {self.labels.max()} "
                f"do not fit {self.classes} classes"
            )

    @property
    def count(self) -> int:
        """How many images there are."""
        return int(self.images.shape[0])

    @property
    def image_size(self) -> int:
        """Height and width of every image, in pixels."""
        return int(self.images.shape[1])

    @property
    def channels(self) -> int:
        """How many colour channels an image has."""
        return int(self.images.shape[3])

    @property
    def classes(self) -> int:
        """How many classes there are, met among the labels or not."""
        return len(self.class_names)

    @property
    def known_labels(self) -> NDArray[np.int64]:
        """The labels of a set that must have them.

        Raises:
            ValueError: The images are unlabelled.
        """
        if self.labels is None:
            raise ValueError(f"{self.name}: the images have no labels")
        return self.labels

    @property
    def shown_classes(self) -> tuple[str, ...]:
        """The classes that labelled images show, in the order of the labels."""
        if self.labels is None:
            return ()
        return tuple(self.class_names[number] for number in np.unique(self.labels))

    @cached_property
    def sha256(self) -> str:
        """Hex digest over shape, class names, pixels and labels; the name is no part of it."""
        header = {
            "shape": list(self.images.shape),
            "class_names": list(self.class_names),
            "labelled": self.labels is not None,
        }
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        for block in self.blocks():
            digest.update(np.ascontiguousarray(block).data)
        if self.labels is not None:
            digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def blocks(self, size: int = BLOCK) -> Iterator[NDArray[np.uint8]]:
        """The images in order, at most `size` at a time: uint8 (n, size, size, channels)."""
        for start in range(0, self.count, size):
            yield self.images[start : start + size]

    def subset(self, indices: NDArray[np.int64], *, name: str | None = None) -> "ImageSet":
        """The images of these rows, in this order; copied if they are in memory."""
        images: Pixels
        if isinstance(self.images, np.ndarray) and not isinstance(self.images, np.memmap):
            images = self.images[indices]
        else:
            images = Rows(self.images, indices)
        labels = None if self.labels is None else self.labels[indices]
        return ImageSet(name or self.name, images, labels, self.class_names)

    def channel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over all pixels, on a scale of 0 to 1.

        Sums are exact integers, so the result does not depend on the machine.

        Raises:
            ValueError: There are no images.
        """
        if not self.count:
            raise ValueError(f"{self.name}: no images to measure")
        counts = np.zeros((self.channels, 256), dtype=np.int64)
        for block in self.blocks():
            for channel in range(self.channels):
                counts[channel] += np.bincount(block[..., channel].reshape(-1), minlength=256)
        values = range(256)
        pixels = int(counts[0].sum())
        mean, std = [], []
        for row in counts.tolist():
            total = sum(v * n for v, n in zip(values, row, strict=True))
            squares = sum(v * v * n for v, n in zip(values, row, strict=True))
            mean.append(total / pixels / 255)
            std.append(math.sqrt(squares * pixels - total * total) / pixels / 255)
        return tuple(mean), tuple(std)


@dataclass(frozen=True, eq=False)
class Splits:
    """The images of a run: trained on, chosen on, and touched once at the end.

    Attributes:
        name: The data's name: "cifar10".
        train: Images the weights are fitted to.
        validation: Images the epoch is chosen on, held out of the training images; may be empty.
        test: Images of the reported figures.
        mean: Mean of each channel of the training images, on a scale of 0 to 1.
        std: Standard deviation of each channel of the training images, on the same scale; 1 of a
            channel that never changes.
        split_seed: What chose the validation images.
        unlabelled: More images for a teacher to answer and its students to learn from; any labels
            they had are of no account. None is an image of a split.
    """

    name: str
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split_seed: int
    unlabelled: ImageSet | None = None

    @classmethod
    def build(
        cls,
        name: str,
        *,
        train: ImageSet,
        test: ImageSet,
        validation: ImageSet | None,
        validation_fraction: float,
        split_seed: int,
    ) -> Self:
        """Make the three splits of what a data set has, and measure the training images.

        Args:
            name: The data's name.
            train: The training images. If they are an array in memory and validation images are
                taken out, the array is reordered in place: holding both would cost twice as much.
            test: The test images.
            validation: The data set's own validation images; None holds some out of `train`.
            validation_fraction: Share of the training images to hold out, 0 up to 1.
            split_seed: Which of them.

        Raises:
            ConfigError: The fraction leaves no training images.
        """
        if validation is None:
            kept, held = split_validation(train.known_labels, validation_fraction, split_seed)
            train, validation = _divided(train, kept, held, name=f"{name} validation")
        mean, measured = train.channel_statistics()
        std = tuple(value or 1.0 for value in measured)  # nothing can be divided by 0
        return cls(name, train, validation, test, mean, std, split_seed)

    @cached_property
    def sha256(self) -> str:
        """Hex digest over the digests of the three sets; what is unlabelled is no part of it."""
        parts = (self.train.sha256, self.validation.sha256, self.test.sha256)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @cached_property
    def swept_sha256(self) -> str:
        """Hex digest that names what views sweep over: `sha256`, with what is unlabelled."""
        if self.unlabelled is None:
            return self.sha256
        return hashlib.sha256(f"{self.sha256}\n{self.unlabelled.sha256}".encode()).hexdigest()

    @property
    def swept(self) -> int:
        """How many images a view sweeps over: the training images, then the unlabelled ones."""
        return self.train.count + self.unlabelled_count

    @property
    def unlabelled_count(self) -> int:
        """How many of them are unlabelled."""
        return 0 if self.unlabelled is None else self.unlabelled.count

    @property
    def image_size(self) -> int:
        """Height and width of every image, in pixels."""
        return self.train.image_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class, in the order of the labels."""
        return self.train.class_names

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.train.classes


def without(images: ImageSet, *others: ImageSet) -> ImageSet:
    """The images of a set that no other set holds, pixel for pixel, and without labels.

    Args:
        images: The set.
        others: What must not be among them, of the same size.
    """
    seen = {one for other in others for one in _digests(other)}
    kept = [row for row, one in enumerate(_digests(images)) if one not in seen]
    bare = ImageSet(images.name, images.images, None, ())
    return bare if len(kept) == images.count else bare.subset(np.array(kept, dtype=np.int64))


def _digests(images: ImageSet) -> Iterator[bytes]:
    """What tells each image from the others."""
    for block in images.blocks():
        yield from (hashlib.sha256(image.tobytes()).digest() for image in block)


def split_validation(
    labels: NDArray[np.int64], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose validation images so that every class gives its share; the same on every machine.

    Args:
        labels: int64 (count,), the class of each image.
        fraction: Share to hold out, 0 up to 1; the number held out is the nearest integer to
            fraction * count.
        seed: Which images.

    Returns:
        Indices kept for training and indices held out, both int64 and rising.

    Raises:
        ConfigError: The fraction is outside its range, or leaves no images on either side.
    """
    held = round(fraction * len(labels)) if 0 <= fraction < 1 else len(labels)
    if held >= len(labels):
        raise ConfigError(
            f"a validation fraction of {fraction} leaves none of {len(labels)} images to train on",
            hint="use a smaller `validation_fraction` in a recipe's [data], or a folder `val`",
        )
    if fraction and not held:
        raise ConfigError(
            f"a validation fraction of {fraction} holds out none of {len(labels)} images",
            hint="use a larger `validation_fraction` in a recipe's [data], or a folder `val`",
        )
    return stratify(labels, held, seed)


def stratify(
    labels: NDArray[np.int64], held: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out exactly `held` images, every class giving its share by largest remainders.

    Args:
        labels: int64 (count,), the class of each image.
        held: How many to hold out, 0 to count.
        seed: Which images of each class.

    Returns:
        Indices kept and indices held out, both int64 and rising.
    """
    count = len(labels)
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    quotas = [held * int(size) // count for size in sizes]
    remainders = [held * int(size) % count for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda k: (-remainders[k], k))
    for k in by_remainder[: held - sum(quotas)]:
        quotas[k] += 1
    drawn = random_words.words(seed, SPLIT_STREAM, 0, count)
    chosen = np.zeros(count, dtype=bool)
    for k, quota in enumerate(quotas):
        members = np.flatnonzero(inverse == k)
        chosen[members[random_words.permutation(drawn[members])[:quota]]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _divided(
    images: ImageSet, kept: NDArray[np.int64], held: NDArray[np.int64], *, name: str
) -> tuple[ImageSet, ImageSet]:
    """Both parts of a set, whose array, if it is held in memory, is reordered: no second one.

    Args:
        images: The set.
        kept: Rising rows.
        held: All other rows, rising.
        name: Of the images held out.
    """
    pixels, labels = images.images, images.known_labels
    if not isinstance(pixels, np.ndarray) or not pixels.flags.writeable:
        return images.subset(kept), images.subset(held, name=name)
    last = pixels[held]
    for start in range(0, len(kept), BLOCK):
        # Rising rows: row k comes from k or later, so nothing still needed is overwritten.
        block = kept[start : start + BLOCK]
        pixels[start : start + len(block)] = pixels[block]
    pixels[len(kept) :] = last
    return (
        ImageSet(images.name, pixels[: len(kept)], labels[kept], images.class_names),
        ImageSet(name, pixels[len(kept) :], labels[held], images.class_names),
    )
