"""Sending tensors to a device."""

import pytest
import torch

from compress.data.transfer import on_device


def test_what_is_there_already_is_not_copied() -> None:
    tensor = torch.arange(3)
    assert on_device(tensor, torch.device("cpu")) is tensor


@pytest.mark.gpu
def test_a_tensor_of_the_host_arrives_whole() -> None:
    tensor = torch.arange(100_000)
    sent = on_device(tensor, torch.device("cuda"))
    assert sent.device.type == "cuda"
    assert torch.equal(sent.cpu(), tensor)
    assert on_device(sent, sent.device) is sent
