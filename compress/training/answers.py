"""The source students learn from: stored answers, computed where they are missing."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compress.data.views import View
from compress.errors import CompressError, ConfigError
from compress.models.feature_hooks import tapped
from compress.training.inputs import Batch, Normalize, TrainingImages
from compress.training.memory import in_parts
from compress.training.soft_labels import SoftLabels
from compress.training.teachers import Teacher
from compress.training.workplace import Workplace


def not_live() -> ConfigError:
    """The error for losses on features where there are stored answers alone."""
    return ConfigError(
        "a loss on features needs the teacher itself, stored soft labels are not enough",
        hint="add --teacher",
    )


class Teaching:
    """A source of stored answers, computed where they are missing and somebody can.

    Attributes:
        stored: The answers.

    Args:
        stored: The answers.
        teacher: Computes missing ones; None where only the store is there.
        images: The training images.
        place: Where the students learn.
        views: How many are filled, one after another; None where they are not counted.
    """

    def __init__(
        self,
        stored: SoftLabels,
        teacher: Teacher | None,
        images: TrainingImages,
        place: Workplace,
        *,
        views: int | None = None,
    ) -> None:
        self.stored = stored
        self._teacher = teacher
        self._images = images
        self._place = place
        self._views = views
        self._rate = 0.0
        self._seconds_before = 0.0
        self._live: dict[bool, tuple[nn.Module, Normalize]] = {}
        self._taps: dict[bool, list[str]] = {}

    @property
    def seconds(self) -> float:
        """The device's time for the teacher's forward passes for this run; waits for it."""
        return self._seconds_before + (0.0 if self._teacher is None else self._teacher.seconds)

    def goes_on(self, seconds: float) -> None:
        """Count the time that the teacher spent on the same run in processes before this one."""
        self._seconds_before = seconds

    def tap(self, paths: Sequence[str]) -> None:
        """Run the teacher live at every step for the outputs of these modules.

        BatchNorms are folded, but not for the output of a convolution: folded, it would be that of
        its BatchNorm. So what a path gives does not depend on the other paths.

        Raises:
            ConfigError: There is no teacher to run, or it is an ensemble.
        """
        self._taps = {}
        known = next(iter(self._live.values()), None) if paths else None
        modules = dict((known or self.network())[0].named_modules()) if paths else {}
        for path in paths:
            folded = not isinstance(modules.get(path), nn.Conv2d)
            self.network(folded=folded)
            self._taps.setdefault(folded, []).append(path)
        self._live = {folded: self._live[folded] for folded in self._taps}

    def network(self, *, folded: bool = True) -> tuple[nn.Module, Normalize]:
        """The teacher's network and its normalisation; made once, until other ones are tapped.

        Args:
            folded: Each BatchNorm is part of the convolution before it.

        Raises:
            ConfigError: Only stored answers are there, or it is an ensemble.
        """
        if self._teacher is None:
            raise not_live()
        if folded not in self._live:
            self._live[folded] = self._teacher.live(folded=folded)
        return self._live[folded]

    def labels(self, view: View) -> Tensor | None:
        """The stored logits of a view, float16 (images, classes) on the device.

        Raises:
            InputError: They are missing or damaged, and there is no teacher to compute them.
        """
        return torch.from_numpy(self._obtain(view)[0]).to(self._place.device)

    def fill(self, view: View) -> bool:
        """Store the answers to a view where they are missing or damaged; whether they were.

        Raises:
            InputError: They were, and there is no teacher to compute them.
        """
        return self._obtain(view)[1]

    def _obtain(self, view: View) -> tuple[NDArray[np.float16], bool]:
        """A view's answers as stored, and whether they had to be computed, which is told."""
        if self._place.world.size > 1:
            logits, filled = self._together(view)
        else:
            fill = None if self._teacher is None else (lambda: self._answer(view))
            logits, filled = self._stored(view, fill)
        if filled and self._place.world.main:
            self._place.progress.note(f"{self._named(view)}: stored, {self._rate:.0f} images/s")
        return logits, filled

    def _named(self, view: View) -> str:
        """A view as people are told of it."""
        if self._views is None:
            return f"soft labels of view {view.number + 1}"
        return f"view {view.number + 1}/{self._views}"

    def _stored(
        self, view: View, fill: Callable[[], NDArray[np.float32]] | None
    ) -> tuple[NDArray[np.float16], bool]:
        return self.stored.obtain(
            view.digest,
            fill,
            tell=self._place.progress.note,
            give_up=lambda: self._place.stop.requested,
        )

    def _answer(self, view: View) -> NDArray[np.float32]:
        if self._teacher is None:
            raise ValueError("no teacher to ask")
        members = len(self._teacher.members)
        self._place.progress.start(
            self._named(view), total=self._images.count * members, unit="image"
        )
        begin = time.perf_counter()
        logits = self._teacher.answer(
            self._images, view, lambda done: self._place.progress.advance(done, images=done)
        )
        self._rate = self._images.count / (time.perf_counter() - begin)
        self._place.progress.finish()
        return logits

    def _together(self, view: View) -> tuple[NDArray[np.float16], bool]:
        """All ranks compute, rank 0 reads and writes, everyone trains on the values as stored.

        The values come over the wire: only rank 0 needs the folder of soft labels. (The run
        directory, the teacher's weights and the images are read by every rank.)
        """
        world = self._place.world

        def asking() -> NDArray[np.float32]:
            world.from_main(lambda: None)  # nothing stored: the others compute their share
            return self._answer(view)

        def stored() -> tuple[NDArray[np.float16], bool] | None:
            fill = None if self._teacher is None else asking
            return self._stored(view, fill)

        obtained = world.from_main(stored)
        if obtained is not None:
            return obtained
        try:
            self._answer(view)
        except Exception:
            with suppress(CompressError):
                world.from_main(stored)  # rank 0 failed, too, and tells everybody
            raise
        obtained = world.from_main(stored)
        if obtained is None:
            raise ValueError("rank 0 asked twice")
        return obtained

    def features(self, batch: Batch) -> Mapping[str, Tensor]:
        """The live teacher's features of a batch by module path.

        Raises:
            MachineError: Not even those of one image fit into memory.
        """
        found: dict[str, Tensor] = {}
        if self._teacher is None or not self._taps:
            return found
        with self._teacher.spent.running():
            for folded, paths in self._taps.items():
                network, normalize = self._live[folded]
                parts = in_parts(partial(_outputs, network, normalize, paths), batch.images)
                for path in paths:
                    each = [part[path] for part in parts]
                    found[path] = each[0] if len(each) == 1 else torch.cat(each)
        return found


def _outputs(
    network: nn.Module, normalize: Normalize, paths: Sequence[str], images: Tensor
) -> dict[str, Tensor]:
    """What a network's modules make of uint8 images, by module path."""
    with torch.no_grad(), tapped(network, paths) as features:
        network(normalize(images))
    return features
