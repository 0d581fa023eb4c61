"""The official python files of CIFAR, unpickled without running anything they might hold."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import InputError

# What an array needs to be rebuilt, under the names old and new NumPy versions write.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds plain containers and NumPy arrays, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        """Look a global up in the short list of allowed ones."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]


def read_batch(
    content: bytes, path: Path, *, label_key: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read pixels and labels from the bytes of one batch.

    Args:
        content: The file's bytes.
        path: The file's name, for messages.
        label_key: "labels" (CIFAR-10) or "fine_labels" (CIFAR-100).

    Returns:
        uint8 (rows, 3072), red, green and blue planes of 32x32; int64 (rows,).

    Raises:
        InputError: The bytes are no such batch, or ask for anything but arrays.
    """
    try:
        # Written by Python 2: its text comes back as bytes.
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a CIFAR batch: {error}") from error
    except (IndexError, KeyError, MemoryError, OverflowError) as error:
        raise InputError(f"{path} is not a CIFAR batch: damaged pickle") from error
    if not isinstance(batch, dict):
        raise InputError(f"{path} is not a CIFAR batch: it holds a {type(batch).__name__}")
    named = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
    missing = [key for key in ("data", label_key) if key not in named]
    if missing:
        raise InputError(f"{path} is not a CIFAR batch: it has no {' and no '.join(missing)}")
    pixels = np.asarray(named["data"])
    if pixels.dtype != np.uint8:
        raise InputError(f"{path} is not a CIFAR batch: its data are {pixels.dtype}, not uint8")
    return pixels, np.asarray(named[label_key], dtype=np.int64)
