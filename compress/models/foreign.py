"""Weights that other programs wrote: reading them without running them, finding the state dict."""

import argparse
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from torch import Tensor
from torch.serialization import safe_globals

from compress.config.specs import Scalar
from compress.errors import InputError

State = dict[str, Tensor]

# Where training programs put the weights inside a checkpoint, the likeliest first.
ENTRIES = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "ema",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
)
# What wrappers put before every name: DataParallel and DDP, torch.compile, a lightning module.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")

# What training programs keep beside the weights (arguments, NumPy scores) and that does nothing but
# hold values. NumPy's two constructors are private; these are the names that NumPy 1 and 2 pickle.
_SCALAR, _ARRAY = np.float64().__reduce__()[0], np.empty(0).__reduce__()[0]
HARMLESS: list[Any] = [
    argparse.Namespace,
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_ARRAY, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]
UNREADABLE = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
)


def read_state(path: Path, *, entry: Scalar | None) -> State:
    """Read the weights in a file that this program did not write.

    Pickled code is never run: only tensors and plain containers are accepted.

    Args:
        path: A `.safetensors` file, or what `torch.save` wrote.
        entry: Key of the checkpoint under which the weights lie; None looks in the usual places.

    Returns:
        Parameter names, wrappers' prefixes removed, to tensors on the CPU.

    Raises:
        InputError: The file is missing, corrupt, holds pickled objects, or holds no weights.
    """
    if path.suffix == ".safetensors":
        state, _ = read_safetensors(path)
    else:
        state = _find_state(path, _unpickle(path), entry)
    state.pop("n_averaged", None)  # counts the steps of torch's AveragedModel
    return _without_prefixes(state)


def read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    Raises:
        InputError: The file is missing, truncated or no safetensors file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            state = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
            return state, dict(stream.metadata() or {})
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (safetensors.SafetensorError, ValueError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file: {error}", hint="copy or download it again"
        ) from error


def _unpickle(path: Path) -> object:
    try:
        with safe_globals(HARMLESS), warnings.catch_warnings():
            # Files of other pickle protocols are read as well as they can be; the rest is an error.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):
            raise _corrupt(path) from error
        raise InputError(
            f"{path} holds pickled objects, which could run code, and not weights alone",
            hint=f'save it again with torch.save(model.state_dict(), "{path.name}")',
        ) from error
    except UNREADABLE as error:
        raise _corrupt(path) from error


def _corrupt(path: Path) -> InputError:
    return InputError(
        f"{path} is empty, truncated or no file of torch.save", hint="copy or download it again"
    )


def _find_state(path: Path, content: object, entry: Scalar | None) -> State:
    """The state dict in a checkpoint, at most two levels deep."""
    if entry is not None:
        found = _as_state(content.get(entry)) if isinstance(content, Mapping) else None
        if found is None:
            raise InputError(f"{path} has no weights under {entry!r}", hint=_keys(content))
        return found
    for _ in range(3):
        found = _as_state(content)
        if found is not None:
            return found
        if not isinstance(content, Mapping):
            break
        inner = [content[key] for key in ENTRIES if isinstance(content.get(key), Mapping)]
        content = next((one for one in inner if _as_state(one)), inner[0] if inner else None)
    raise InputError(f"{path} holds no state dict", hint=_keys(content))


def _as_state(content: object) -> State | None:
    """The tensors of a mapping of names to mostly tensors; None when it is anything else."""
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        return None
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    return tensors if 2 * len(tensors) > len(content) else None


def _keys(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"it holds one {type(content).__name__}"
    shown = ", ".join(str(key) for key in list(content)[:8])
    return f"its keys: {shown}; name the right one with entry=KEY"


def _without_prefixes(state: State) -> State:
    while state:
        prefix = next((p for p in PREFIXES if all(key.startswith(p) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
