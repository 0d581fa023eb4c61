"""Running out of memory: a forward pass is split, a training step is explained."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from compress.errors import MachineError

Result = TypeVar("Result")
SIGNS = (
    *("out of memory", "not enough memory", "can't allocate memory"),
    *("ALLOC_FAILED", "ALLOCATION_FAILED", "unable to find an engine"),
)
"""What PyTorch's allocators and libraries say in a plain RuntimeError (2.14, Linux and CUDA).

cuDNN is out of engines where none finds room for its workspace: each that does not is passed over.
"""

REASON_LENGTH = 160
SMALLER = "a smaller --batch-size needs less memory"


class NothingFitsError(MachineError):
    """Nothing that was tried fits into memory; the message is PyTorch's."""


class StepTooLargeError(MachineError):
    """A student's step does not fit; the hint says what would, of this student alone."""


def ran_out(error: BaseException) -> bool:
    """Whether an error means that no more memory could be had."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


def release() -> None:
    """Free what nothing refers to, and give the device's cached blocks back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def shortage_explained(what: str, hint: str, *, fewer: str = "") -> Iterator[None]:
    """Let a block that runs out of memory end with an error that says what needs less.

    Args:
        what: Who needs the memory, the error's first words.
        hint: What to do about it.
        fewer: How fewer students train at a time, said after the hint, and after that of a
            student's step that does not fit; empty where there is one student at most.

    Raises:
        MachineError: The block ran out of memory.
    """
    try:
        yield
    except StepTooLargeError as error:
        remedy = "; ".join(filter(None, (error.hint, fewer)))
        raise MachineError(error.message, hint=remedy) from error
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        remedy = "; ".join(filter(None, (hint, fewer)))
        raise MachineError(_shortage(what, str(error)), hint=remedy) from error


def in_parts(forward: Callable[[Tensor], Result], images: Tensor) -> list[Result]:
    """Run a forward pass, in halves where memory is short; each image's result is its own.

    Args:
        forward: Maps (batch, …) to what it finds, each row by itself.
        images: The batch.

    Returns:
        What was found of each part of the batch, in its order.

    Raises:
        MachineError: Not even one image fits.
    """
    try:
        return [forward(images)]
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        if len(images) == 1:
            raise MachineError(
                "the model does not fit into memory, not even for one image"
            ) from error
    # Outside the handler: the error's traceback held the tensors of the failed pass.
    release()
    half = len(images) // 2
    return [found for part in (images[:half], images[half:]) for found in in_parts(forward, part)]


def split_forward(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Run a forward pass like `in_parts`, and put its rows together.

    Args:
        forward: Maps (batch, …) to (batch, classes), each row by itself.
        images: The batch.

    Raises:
        MachineError: Not even one image fits.
    """
    parts = in_parts(forward, images)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def largest_fitting(attempt: Callable[[int], None], batch_size: int) -> int:
    """The largest half, quarter, … of a batch that fits; 0 where not even two images do.

    Args:
        attempt: Does what ran out of memory with so many images.
        batch_size: What did not fit.
    """
    size = batch_size // 2
    while size >= 2:
        release()
        try:
            attempt(size)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            size //= 2
        else:
            return size
    return 0


def step_failed(reason: str, *, label: str, batch_size: int, fits: int | None) -> StepTooLargeError:
    """The error for a student's step that does not fit.

    Args:
        reason: What PyTorch said.
        label: The student.
        batch_size: What was asked for.
        fits: A batch size that was tried and fits; 0 where not even two images do, None where
            nothing was tried.
    """
    if fits is None:
        hint = SMALLER
    elif fits:
        hint = f"--batch-size {fits} fits"
    else:
        hint = "not even two images fit: a smaller model or --image-size needs less memory"
    return StepTooLargeError(_shortage(f"{label} with batch size {batch_size}", reason), hint=hint)


def _shortage(what: str, reason: str) -> str:
    """Who is out of memory, and the first words of what PyTorch said, if any."""
    first = reason.partition("\n")[0][:REASON_LENGTH]
    return f"{what} is out of memory" + (f": {first}" if first else "")
