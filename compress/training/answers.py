"""The source students learn from: stored answers, computed where they are missing."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compress.data.views import View
from compress.errors import ConfigError, InputError
from compress.models.feature_hooks import tapped
from compress.progress import Progress
from compress.training.distributed import World
from compress.training.inputs import Batch, Normalize, TrainingImages
from compress.training.soft_labels import SoftLabels
from compress.training.teachers import Teacher


class Teaching:
    """A source of stored answers, computed where they are missing and somebody can.

    Args:
        stored: The answers.
        teacher: Computes missing ones; None where only the store is there.
        images: The training images.
        device: Where the students learn.
        world: The ranks of the run.
        progress: Told of the teacher's work.
    """

    def __init__(
        self,
        stored: SoftLabels,
        teacher: Teacher | None,
        images: TrainingImages,
        *,
        device: torch.device,
        world: World,
        progress: Progress,
    ) -> None:
        self._stored = stored
        self._teacher = teacher
        self._images = images
        self._device = device
        self._world = world
        self._progress = progress
        self._live: tuple[nn.Module, Normalize] | None = None
        self._taps: tuple[str, ...] = ()

    def tap(self, paths: Sequence[str]) -> None:
        """Run the teacher live at every step for the outputs of these modules.

        Raises:
            ConfigError: There is no teacher to run, or it is an ensemble.
        """
        self._taps = tuple(paths)
        if paths and self._live is None:
            self._live = self.network()

    def network(self) -> tuple[nn.Module, Normalize]:
        """The teacher's network and its normalisation.

        Raises:
            ConfigError: Only stored answers are there, or it is an ensemble.
        """
        if self._teacher is None:
            raise ConfigError(
                "a loss on features needs the teacher itself, stored soft labels are not enough",
                hint="add --teacher",
            )
        return self._teacher.live()

    def labels(self, view: View) -> Tensor | None:
        """The stored logits of a view, float16 (images, classes) on the device."""
        if self._world.size > 1:
            return self._together(view)
        fill = None if self._teacher is None else (lambda: self._answer(view))
        array, _ = self._stored.obtain(view.digest, fill, damaged=self._progress.note)
        return torch.from_numpy(array).to(self._device)

    def _answer(self, view: View) -> NDArray[np.float32]:
        if self._teacher is None:
            raise ValueError("no teacher to ask")
        members = len(self._teacher.members)
        self._progress.start(
            f"soft labels of view {view.number}", total=self._images.count * members, unit="image"
        )
        logits = self._teacher.answer(
            self._images, view, lambda done: self._progress.advance(done, images=done)
        )
        self._progress.finish()
        return logits

    def _together(self, view: View) -> Tensor:
        """All ranks compute, rank 0 writes, everyone trains on the values as stored."""
        try:
            array: NDArray[np.float16] | None = self._stored.read(view.digest)
        except InputError:
            array = None
        if self._world.agree(array is None):
            logits = self._answer(view)
            if self._world.main:
                self._stored.write(view.digest, logits)
            self._world.barrier()
            array = self._stored.read(view.digest)
        if array is None:
            raise ValueError("unreachable: some rank would have said so")
        return torch.from_numpy(array).to(self._device)

    def features(self, batch: Batch) -> Mapping[str, Tensor]:
        """The live teacher's features of a batch by module path."""
        if self._live is None or not self._taps:
            return {}
        network, normalize = self._live
        with torch.no_grad(), tapped(network, self._taps) as features:
            network(normalize(batch.images))
        return dict(features)
