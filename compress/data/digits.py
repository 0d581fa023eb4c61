"""scikit-learn's real handwritten digits: 1,797 images of 8x8 pixels, no download.

They are a copy of the test set of "Optical Recognition of Handwritten Digits" (Alpaydin and
Kaynak, 1998), which comes inside scikit-learn. Grey values 0 to 16 become 0 to 255.
"""

from pathlib import Path

import numpy as np

from compress.data.images import ImageSet, stratify
from compress.errors import MachineError
from compress.progress import Progress
from compress.version import install_hint

TEST_IMAGES = 360
TEST_SEED = 0
CLASS_NAMES = tuple("0123456789")


def read(
    split: str, *, data_dir: Path | None, download: bool, progress: Progress
) -> ImageSet | None:
    """Read one split; which 360 images are the test images is fixed for ever.

    Args:
        split: "train" (1,437 images), "validation" (None: there is none) or "test" (360).
        data_dir: Not needed.
        download: Not needed.
        progress: Not needed.

    Returns:
        uint8 (count, 8, 8, 3) with three equal channels.

    Raises:
        MachineError: scikit-learn is not installed.
    """
    del data_dir, download, progress
    if split == "validation":
        return None
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MachineError(
            "the digits images come with scikit-learn, which is not installed",
            hint=install_hint("train"),
        ) from error
    raw = load_digits()
    grey = (raw.images.astype(np.int64) * 255 + 8) // 16
    labels = raw.target.astype(np.int64)
    train, test = stratify(labels, TEST_IMAGES, TEST_SEED)
    rows = test if split == "test" else train
    images = np.repeat(grey[rows].astype(np.uint8)[..., None], 3, axis=3)
    return ImageSet(f"digits {split}", images, labels[rows], CLASS_NAMES)
