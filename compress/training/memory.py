"""Running out of memory: a forward pass is split, a training step is explained."""

from collections.abc import Callable

import torch
from torch import Tensor

from compress.errors import MachineError


def ran_out(error: BaseException) -> bool:
    """Whether an error means that no more memory could be had."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "not enough memory" in str(error)
    )


def split_forward(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Run a forward pass, in halves where memory is short; each image's result is its own.

    Args:
        forward: Maps (batch, …) to (batch, classes), each row by itself.
        images: The batch.

    Raises:
        MachineError: Not even one image fits.
    """
    try:
        return forward(images)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        if len(images) == 1:
            raise MachineError(
                "the teacher does not fit into memory, not even for one image"
            ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(images) // 2
    return torch.cat([split_forward(forward, part) for part in (images[:half], images[half:])])


def step_failed(error: BaseException, *, label: str, batch_size: int, fits: int) -> MachineError:
    """The error for a student's step that does not fit.

    Args:
        error: What PyTorch raised.
        label: The student.
        batch_size: What was asked for.
        fits: A batch size that was seen to fit; 0 where none did.
    """
    hint = f"--batch-size {fits} fits" if fits else "use a smaller --student or --group 1"
    reason = str(error).partition("\n")[0][:160]
    return MachineError(
        f"{label} with batch size {batch_size} is out of memory: {reason}", hint=hint
    )
