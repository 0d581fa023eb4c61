"""The images of a training or its teacher, with the normalisation models get."""

from dataclasses import replace

from compress.config.distill import DistillConfig
from compress.config.soft_labels import SoftLabelsConfig
from compress.config.training import TrainingConfig
from compress.data import registry as data
from compress.data.images import Splits
from compress.errors import unknown
from compress.models.normalization import NORMALIZATIONS
from compress.progress import Progress

MEASURED = "data"
"""The normalisation by the training images' own mean and deviation."""


def load_splits(config: TrainingConfig, progress: Progress, *, download: bool = True) -> Splits:
    """The data of a training, with the normalisation its models get.

    Args:
        config: Names them.
        progress: Told of downloads and reading.
        download: Whether to fetch what is nowhere on this machine.

    Raises:
        InputError: Missing or damaged.
        ConfigError: The data or the normalisation is unknown.
    """
    return normalised(load_data(config, progress, download=download), config)


def with_unlabelled(
    splits: Splits,
    config: DistillConfig | SoftLabelsConfig,
    progress: Progress,
    *,
    download: bool = True,
) -> Splits:
    """The data of students with the unlabelled images they are taught on besides, if any.

    Args:
        splits: The data.
        config: As in `load_splits`, like the others.
        progress: Of it.
        download: Of it.

    Raises:
        InputError: Missing or damaged.
        ConfigError: The data is unknown, or nothing but validation and test images.
    """
    if config.unlabelled is None:
        return splits
    return data.with_unlabelled(
        splits, config.unlabelled, data_dir=config.data_dir, download=download, progress=progress
    )


def load_data(
    config: TrainingConfig | SoftLabelsConfig, progress: Progress, *, download: bool = True
) -> Splits:
    """The data of a command that learns or teaches, with its own mean and deviation.

    Args:
        config: As in `load_splits`, like the others.
        progress: Of it.
        download: Of it.

    Raises:
        InputError: Missing or damaged.
        ConfigError: The data is unknown.
    """
    return data.load(
        config.data,
        data_dir=config.data_dir,
        image_size=config.image_size,
        validation_fraction=config.validation_fraction,
        split_seed=config.split_seed,
        download=download,
        progress=progress,
    )


def normalised(splits: Splits, config: TrainingConfig) -> Splits:
    """Images whose mean and deviation were measured with the normalisation asked for.

    Raises:
        ConfigError: The normalisation is unknown.
    """
    if config.normalization == MEASURED:
        return splits
    if config.normalization not in NORMALIZATIONS:
        raise unknown("normalization", config.normalization, [MEASURED, *NORMALIZATIONS])
    chosen = NORMALIZATIONS[config.normalization]
    return replace(splits, mean=chosen.mean, std=chosen.std)
