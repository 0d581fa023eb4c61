"""Checkpoints: the whole state of a training in one file, written whole, read without pickle."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from compress.errors import InputError
from compress.files import atomic_path

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays until this one is whole.

    Raises:
        InputError: It cannot be written.
    """
    with atomic_path(path) as part:
        try:
            torch.save({"format": FORMAT, **state}, part)
        except RuntimeError as error:
            # PyTorch's zip writer reports a full disk as a RuntimeError
            raise OSError(28, f"{error}".partition("\n")[0]) from error


def load(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; None where there is none yet.

    Raises:
        InputError: Damaged, or of another version.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, zipfile.BadZipFile, EOFError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"checkpoint {path} is damaged: {reason}", hint="begin anew with --restart"
        ) from error
    if state.get("format") != FORMAT:
        raise InputError(
            f"checkpoint {path} has format {state.get('format')}, this version reads {FORMAT}",
            hint="begin anew with --restart",
        )
    return state
