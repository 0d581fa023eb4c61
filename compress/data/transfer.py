"""Sending what the host has to the device that computes."""

import torch
from torch import Tensor


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; from the host to a GPU without waiting for what the GPU is doing.

    Args:
        tensor: Anywhere; one that is on the device already is returned as it is.
        device: Where it is wanted.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
