"""Images on their way into a model: resident uint8, augmented in batches, normalised per model."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.data.augment import apply, targets
from compress.data.images import ImageSet
from compress.data.transfer import on_device
from compress.data.views import View
from compress.environment import require_memory
from compress.training.device import resident

Prepared = TypeVar("Prepared")
TOGETHER_BYTES = {"cpu": 2**20, "cuda": 2**24}
"""Small batches are augmented several at a time, up to so many bytes of images.

With crop and flip on two cores: batches of 64 in a third of the time at 8 pixels, of 128 in two
thirds at 32; more at once gains little. On a GPU there are fewer kernels to launch.
"""


def _ahead(
    prepare: Callable[[int], Prepared], numbers: Iterable[int], workers: int
) -> Iterator[Prepared]:
    """What is made of each number, in their order.

    Args:
        prepare: Makes it.
        numbers: Of what.
        workers: Threads that make so many ahead; 0 makes each when it is asked for.
    """
    if workers == 0:
        yield from map(prepare, numbers)
        return
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[Prepared]] = deque()
        for number in numbers:
            ahead.append(pool.submit(prepare, number))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


class Normalize:
    """uint8 images to what one model expects: (x / 255 - mean) / std in float32.

    Args:
        mean: Per channel, on the 0-1 scale.
        std: Per channel, on the 0-1 scale.
        device: Where the images are.
        memory_format: Of the result.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        device: torch.device,
        memory_format: torch.memory_format,
    ) -> None:
        deviation = torch.tensor(std, dtype=torch.float64)
        average = torch.tensor(mean, dtype=torch.float64)
        self._scale = (1 / (255 * deviation)).float().view(1, -1, 1, 1).to(device)
        self._shift = (-average / deviation).float().view(1, -1, 1, 1).to(device)
        self._memory_format = memory_format

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise uint8 images of shape (batch, channels, height, width)."""
        images = images.contiguous(memory_format=self._memory_format)
        return torch.addcmul(self._shift, images.float(), self._scale)


@dataclass(frozen=True)
class Batch:
    """One batch of a view.

    Attributes:
        images: uint8, (batch, channels, height, width).
        targets: int64 (batch,) class indices, or float32 (batch, classes) where images are mixed
            or unlabelled: of the latter all 0.
        rows: int64 (batch,), the images' indices in the training set.
    """

    images: Tensor
    targets: Tensor
    rows: Tensor

    @cached_property
    def shown(self) -> Tensor:
        """int64 (batch,): each image's class, of a mixed one the larger share's.

        It is -1 where that share, or the image, is unlabelled.
        """
        if self.targets.ndim == 1:
            return self.targets
        known = self.targets.amax(dim=1) >= 0.5  # two labelled shares are never both smaller
        return torch.where(known, self.targets.argmax(dim=1), -1)


def as_tensor(images: ImageSet | Sequence[ImageSet], device: torch.device) -> Tensor:
    """Image sets, one after another, as a uint8 tensor (images, channels, height, width) there.

    Its memory is channels-last: the layout the files and the arrays have.

    Raises:
        MachineError: It does not fit there, or several sets do not fit into memory once more.
    """
    sets = (images,) if isinstance(images, ImageSet) else images
    array = _joined(sets) if sets[1:] else sets[0].images[:]
    return resident(torch.from_numpy(np.ascontiguousarray(array)), device).permute(0, 3, 1, 2)


def _joined(sets: Sequence[ImageSet]) -> NDArray[np.uint8]:
    """The images of several sets in one array; none of them is let go of."""
    size = sum(math.prod(one.images.shape) for one in sets)
    require_memory(size, f"the images of {' and '.join(one.name for one in sets)} in one place")
    return np.concatenate([one.images[:] for one in sets])


class TrainingImages:
    """What a training sweeps over, on the device, dealt out as batches of a view.

    Attributes:
        pixels: uint8 (images, channels, height, width): the training split, the unlabelled.
        labels: int64 (images,); of an unlabelled image the number of classes.
        classes: How many there are.
        count: How many images there are.

    Args:
        images: The training split; labelled.
        unlabelled: More images of the same size, whose labels are not used.
        device: Where they are kept and augmented.
        workers: Threads that prepare batches ahead; 0 prepares each when it is asked for.
    """

    def __init__(
        self,
        images: ImageSet,
        unlabelled: ImageSet | None = None,
        *,
        device: torch.device,
        workers: int = 0,
    ) -> None:
        sets = [images] if unlabelled is None else [images, unlabelled]
        self.pixels = as_tensor(sets, device)
        self.classes = images.classes
        self.count = len(self.pixels)
        labels = np.full(self.count, self.classes, dtype=np.int64)
        labels[: images.count] = images.known_labels
        self.labels = torch.from_numpy(labels).to(device)
        self._whole = unlabelled is None
        self._device = device
        self._workers = workers

    def rows(self, view: View, rows: Tensor) -> Tensor:
        """The augmented uint8 images of some rows, whatever batch they are part of."""
        return apply(self.pixels, view.parameters, rows)

    def parts(self, view: View, rows: Tensor, size: int) -> Iterator[Tensor]:
        """The augmented uint8 images of some rows in their order, `size` at a time.

        Args:
            view: Their augmentation.
            rows: int64 (images,)
            size: Of all parts but the last, which may be smaller.
        """
        firsts = range(0, len(rows), size)
        return _ahead(
            lambda first: self.rows(view, rows[first : first + size]), firsts, self._workers
        )

    def batches(
        self, view: View, batch_size: int, *, start: int = 0, share: Callable[[int], slice]
    ) -> Iterator[Batch]:
        """The batches of a view in its order; a smaller last one is left out.

        Args:
            view: Order and augmentation.
            batch_size: Images per batch, over all ranks.
            start: Batches to skip.
            share: This rank's part of a batch of a given size.
        """
        order, part = torch.from_numpy(view.order), share(batch_size)

        def prepare(first: int) -> list[Batch]:
            numbers = range(first, min(first + together, end))
            each = [order[n * batch_size : (n + 1) * batch_size][part] for n in numbers]
            rows = torch.cat(each)
            pixels = self.rows(view, rows)
            rows = on_device(rows, self._device)
            labels = targets(self.labels, view.parameters, rows, self.classes, whole=self._whole)
            size = len(each[0])
            parts = (torch.split(tensor, size) for tensor in (pixels, labels, rows))
            return [Batch(*batch) for batch in zip(*parts, strict=True)]

        end = self.count // batch_size
        together = self._at_once(part, batch_size)
        for batches in _ahead(prepare, range(start, end, together), self._workers):
            yield from batches

    def _at_once(self, part: slice, batch_size: int) -> int:
        """How many batches are augmented in one go; an image's result does not depend on it."""
        size = len(range(batch_size)[part]) * self.pixels[0].numel()
        return max(1, TOGETHER_BYTES[self._device.type] // max(1, size))
