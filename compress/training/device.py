"""Which device to compute on, and what must be said to it."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import nn

from compress.errors import MachineError
from compress.training.allocator import keep_pages

MIB = 2**20


def pick_device(wanted: str) -> torch.device:
    """Resolve `auto`, `cpu` or `cuda`, and prepare the process for long work there.

    Raises:
        MachineError: CUDA is asked for and absent, or its device cannot be used.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise MachineError(
            "--device cuda: no CUDA device on this machine", hint="use --device cpu or auto"
        )
    if wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available()):
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        return used_from_now_on()
    keep_pages()
    return torch.device("cpu")


def used_from_now_on(number: int | None = None) -> torch.device:
    """A CUDA device on which this process has done something.

    Args:
        number: Makes this one the current device; None takes the one that is.

    Raises:
        MachineError: It is full, taken, or none that this PyTorch has code for.
    """
    try:
        if number is not None:
            torch.cuda.set_device(number)
        device = torch.device("cuda", torch.cuda.current_device())
        torch.zeros(1, device=device)
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        which = "the CUDA device" if number is None else f"CUDA device {number}"
        reason = str(error).strip().partition("\n")[0]
        raise MachineError(
            f"{which} cannot be used: {reason}",
            hint="free it, name another with CUDA_VISIBLE_DEVICES, or use --device cpu",
        ) from error
    return device


def accelerator_name(device: torch.device) -> str | None:
    """The CUDA device's name, or None on CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def synchronize(device: torch.device) -> None:
    """Wait for the device, so that a clock read next means something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


MOST_MARKS = 1000
"""Blocks of work on a CUDA device that may wait for their times to be added up."""


class Stopwatch:
    """Adds up the time a device spends on blocks of work, without making anybody wait for it.

    A clock read on the host would count how long it takes to give a CUDA device its work, not how
    long the work takes: there, events in the device's own queue are read.

    Args:
        device: What works; on CUDA the current stream of the current device.
        seconds: Spent before.
    """

    def __init__(self, device: torch.device, seconds: float = 0.0) -> None:
        self._device = device
        self._seconds = seconds
        self._marks: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of a block, unless it raises."""
        if self._device.type != "cuda":
            started = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - started
            return
        begin, end = (_event() for _ in range(2))
        begin.record()
        yield
        end.record()
        self._marks.append((begin, end))
        if len(self._marks) >= MOST_MARKS:
            self._settle(wait=False)

    @property
    def seconds(self) -> float:
        """The time of all blocks; waits for the last of them to be done."""
        self._settle(wait=True)
        return self._seconds

    def _settle(self, *, wait: bool) -> None:
        """Add up the blocks that are done; those that are not only where somebody waits."""
        while self._marks and (wait or _is_done(self._marks[0][1])):
            begin, end = self._marks.popleft()
            end.synchronize()
            self._seconds += begin.elapsed_time(end) / 1000


def _is_done(event: torch.cuda.Event) -> bool:
    return bool(event.query())  # type: ignore[no-untyped-call]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def generator_states(device: torch.device) -> list[torch.Tensor]:
    """What the generators that a computation on a device may draw from are at."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def resident(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move a whole uint8 image set to the device, after a look at what is free there.

    Raises:
        MachineError: It does not fit there.
    """
    size, free = images.numel(), _free(device)
    if free is None or size <= free:
        with suppress(torch.OutOfMemoryError):
            return images.to(device)
    raise MachineError(
        f"the images ({size / MIB:.0f} MiB) do not fit on {device}"
        + ("" if free is None else f", where {free / MIB:.0f} MiB are free"),
        hint="use a smaller --image-size" + (", or --device cpu" if device.type == "cuda" else ""),
    )


def _free(device: torch.device) -> int | None:
    """Bytes that can be taken on a CUDA device; None for the CPU, where the images are already."""
    if device.type != "cuda":
        return None
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


def placed(
    module: nn.Module, device: torch.device, memory_format: torch.memory_format
) -> nn.Module:
    """Move a module to a device and a memory format."""
    # torch's stubs know `to` with either argument, not with both
    return module.to(device).to(memory_format=memory_format)


def backward(loss: torch.Tensor) -> None:
    """Compute gradients; torch's stubs leave `backward` untyped."""
    loss.backward()  # type: ignore[no-untyped-call]
