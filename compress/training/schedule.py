"""What all students of a run share: epochs, batches and views."""

from dataclasses import dataclass
from pathlib import Path

from compress.config.specs import Augmentation
from compress.data.images import Splits
from compress.data.views import View


def training_view(splits: Splits, augmentation: Augmentation, *, seed: int, number: int) -> View:
    """One of the views of the training images, labelled or not, that a seed names.

    Args:
        splits: The data.
        augmentation: What the view does.
        seed: Names the family of views.
        number: Of the view in its family, from 0.
    """
    return View(
        dataset_sha256=splits.swept_sha256,
        split="train",
        count=splits.swept,
        image_size=splits.image_size,
        augmentation=augmentation,
        seed=seed,
        number=number,
    )


@dataclass(frozen=True)
class Schedule:
    """What all students of a run share.

    Attributes:
        epochs: Sweeps over the training images.
        batch_size: Over all ranks.
        views: Epoch e uses view e mod views; None is one per epoch.
        view_seed: Names the family of views.
        augmentation: What a view does.
        checkpoint_every: Steps between checkpoints inside an epoch; 0 is none.
        group: Students trained at the same time; None is all.
        amp: As given to `--amp`.
        workers: Threads that prepare batches.
        cache: Folder of format trials.
        sync_batchnorm: Whether BatchNorm's statistics are those of all ranks.
    """

    epochs: int
    batch_size: int
    views: int | None
    view_seed: int
    augmentation: Augmentation
    checkpoint_every: int
    group: int | None
    amp: str
    workers: int
    cache: Path
    sync_batchnorm: bool = False

    def view(self, splits: Splits, epoch: int) -> View:
        """The view of an epoch, from 0."""
        number = epoch if self.views is None else epoch % self.views
        return training_view(splits, self.augmentation, seed=self.view_seed, number=number)

    def all_views(self, splits: Splits) -> list[View]:
        """Every view of the training, once."""
        count = self.epochs if self.views is None else min(self.views, self.epochs)
        return [self.view(splits, epoch) for epoch in range(count)]
