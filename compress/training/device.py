"""Which device to compute on, and what must be said to it."""

import torch
from torch import nn

from compress.errors import MachineError


def pick_device(wanted: str) -> torch.device:
    """Resolve `auto`, `cpu` or `cuda`.

    Raises:
        MachineError: CUDA is asked for and absent.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise MachineError(
            "--device cuda: no CUDA device on this machine", hint="use --device cpu or auto"
        )
    if wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available()):
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def accelerator_name(device: torch.device) -> str | None:
    """The CUDA device's name, or None on CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def synchronize(device: torch.device) -> None:
    """Wait for the device, so that a clock read next means something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def resident(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move a whole uint8 image set to the device.

    Raises:
        MachineError: It does not fit there.
    """
    try:
        return images.to(device)
    except torch.cuda.OutOfMemoryError as error:
        size = images.numel() / 2**20
        raise MachineError(
            f"the images ({size:.0f} MiB) do not fit on {device}", hint="use --device cpu"
        ) from error


def placed(
    module: nn.Module, device: torch.device, memory_format: torch.memory_format
) -> nn.Module:
    """Move a module to a device and a memory format."""
    # torch's stubs know `to` with either argument, not with both
    return module.to(device).to(memory_format=memory_format)


def backward(loss: torch.Tensor) -> None:
    """Compute gradients; torch's stubs leave `backward` untyped."""
    loss.backward()  # type: ignore[no-untyped-call]
