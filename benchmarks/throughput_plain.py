"""The loop people write today, as distill_throughput.py times it."""

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Self

import torch
from PIL import Image
from throughput_pairs import (
    ALPHA,
    IMAGE_SIZE,
    MEAN,
    STD,
    TEMPERATURE,
    Pair,
    build,
    random_images,
    timed,
)
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from compress.data.images import ImageSet
from compress.training.device import backward


class Pictures(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR10 is: arrays handed out as PIL images through transforms."""

    def __init__(self, images: ImageSet, transform: Callable[[Image.Image], Tensor]) -> None:
        self._images = images.images[:]
        self._labels = images.known_labels
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._images[index])), int(self._labels[index])


class PlainLoop:
    """The loop people write today: NCHW, float32, two workers, the teacher at every step."""

    WARM_STEPS = 2

    def __init__(self, pair: Pair, batch_size: int, device: torch.device) -> None:
        self._steps, self._device = pair.steps, device
        self._teacher = build(pair.teacher).to(device).eval()
        self._student = build(pair.student).to(device).train()
        self._optimizer = torch.optim.SGD(
            self._student.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        transform = transforms.Compose(
            [
                transforms.RandomCrop(IMAGE_SIZE, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )
        self._loader = DataLoader(
            Pictures(random_images((pair.steps + self.WARM_STEPS) * batch_size), transform),
            batch_size=batch_size,
            shuffle=True,
            num_workers=2,
            drop_last=True,
            pin_memory=device.type == "cuda",
        )

    def __call__(self) -> float:
        """Seconds of one round; the workers' start and two steps come before it."""
        batches = iter(self._loader)
        self._train(batches, self.WARM_STEPS)
        return timed(lambda: self._train(batches, self._steps), self._device)

    def _train(self, batches: Iterator[tuple[Tensor, Tensor]], steps: int) -> None:
        for _ in range(steps):
            images, labels = next(batches)
            images = images.to(self._device, non_blocking=True)
            labels = labels.to(self._device, non_blocking=True)
            with torch.no_grad():
                soft = self._teacher(images)
            logits = self._student(images)
            kd = functional.kl_div(
                functional.log_softmax(logits / TEMPERATURE, dim=1),
                functional.softmax(soft / TEMPERATURE, dim=1),
                reduction="batchmean",
            )
            ce = functional.cross_entropy(logits, labels)
            loss = (1 - ALPHA) * ce + ALPHA * TEMPERATURE**2 * kd
            self._optimizer.zero_grad()
            backward(loss)
            self._optimizer.step()


def _serve(pair: Pair, batch_size: int, kind: str, threads: int, orders: Connection) -> None:
    """Time a round of the plain loop whenever told to, until told to end."""
    torch.set_num_threads(threads)
    loop = PlainLoop(pair, batch_size, torch.device(kind))
    while orders.recv():
        orders.send(loop())


class PlainProcess:
    """The plain loop in a process of its own, which keeps the allocator as people have it.

    It computes with as many threads as this one.

    Used as a block; its process ends with it.
    """

    def __init__(self, pair: Pair, batch_size: int, device: torch.device) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        said = (pair, batch_size, device.type, torch.get_num_threads(), theirs)
        self._process = context.Process(target=_serve, args=said)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._orders.send(False)
        self._process.join()

    def __call__(self) -> float:
        """Seconds of one round.

        Raises:
            EOFError: The process died.
        """
        self._orders.send(True)
        return float(self._orders.recv())
