"""Devices."""

import time

import pytest
import torch
from torch import nn

from compress.errors import MachineError
from compress.training import device

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


@no_cuda
def test_cuda_where_there_is_none_is_a_machine_error() -> None:
    with pytest.raises(MachineError, match="no CUDA device") as caught:
        device.pick_device("cuda")
    assert caught.value.exit_code == 4


@no_cuda
def test_auto_is_the_cpu_where_there_is_no_cuda() -> None:
    assert device.pick_device("auto") == torch.device("cpu")
    assert device.accelerator_name(torch.device("cpu")) is None


def test_a_gpu_that_cannot_be_used_is_a_machine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch, "zeros", full)
    with pytest.raises(MachineError, match=r"CUDA device cannot be used: .* out of memory$"):
        device.pick_device("auto")
    monkeypatch.setattr(torch.cuda, "set_device", full)
    with pytest.raises(MachineError, match="CUDA device 1 cannot be used"):
        device.used_from_now_on(1)


def test_the_cpu_can_always_be_asked_for() -> None:
    assert device.pick_device("cpu") == torch.device("cpu")


@pytest.mark.gpu
def test_matrix_products_on_cuda_are_not_shortened_to_tf32() -> None:
    found = device.pick_device("cuda")
    assert found.type == "cuda"
    assert not torch.backends.cuda.matmul.allow_tf32
    assert device.accelerator_name(found)


def test_images_that_do_not_fit_are_a_machine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.Tensor, "to", refuse)
    with pytest.raises(MachineError, match=r"the images \(3 MiB\) do not fit on cpu"):
        device.resident(torch.zeros(3, 1024, 1024, dtype=torch.uint8), torch.device("cpu"))


def test_images_larger_than_what_is_free_on_a_gpu_are_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What PyTorch holds without using it is free, too: 1 MiB here, beside 1 MiB of the device."""
    sent: list[object] = []
    monkeypatch.setattr(torch.Tensor, "to", lambda _, place: sent.append(place))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**20, 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 3 * 2**20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2 * 2**20)
    gpu = torch.device("cuda")
    with pytest.raises(MachineError, match=r"\(3 MiB\) do not fit on cuda, where 2 MiB") as caught:
        device.resident(torch.zeros(3, 1024, 1024, dtype=torch.uint8), gpu)
    assert caught.value.hint == "use a smaller --image-size, or --device cpu"
    assert sent == []
    device.resident(torch.zeros(2, 1024, 1024, dtype=torch.uint8), gpu)
    assert sent == [gpu]


@pytest.mark.gpu
def test_images_larger_than_a_gpu_are_a_machine_error() -> None:
    found = device.pick_device("cuda")
    total = torch.cuda.get_device_properties(found).total_memory
    images = torch.zeros(1, dtype=torch.uint8).expand(total + 1)
    with pytest.raises(MachineError, match="do not fit on cuda"):
        device.resident(images, found)


def test_a_module_takes_the_memory_format() -> None:
    module = device.placed(nn.Conv2d(4, 8, 3), torch.device("cpu"), torch.channels_last)
    assert module.get_parameter("weight").is_contiguous(memory_format=torch.channels_last)


def test_a_stopwatch_adds_up_blocks_to_what_was_spent_before() -> None:
    watch = device.Stopwatch(torch.device("cpu"), 10.0)
    for _ in range(2):
        with watch.running():
            time.sleep(0.01)
    assert 10.02 <= watch.seconds < 11


def test_a_block_that_fails_is_not_counted() -> None:
    watch = device.Stopwatch(torch.device("cpu"))
    with pytest.raises(ValueError, match="no"), watch.running():
        raise ValueError("no")
    assert watch.seconds == 0


def test_a_stopwatch_of_many_blocks_waits_for_none_that_runs_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Events of a device that has done all blocks but the last three; each took 2 ms."""

    class Event:
        done, made = True, 0

        def __init__(self) -> None:
            Event.made += 1
            self.done = Event.made <= 2 * (device.MOST_MARKS - 3)

        def record(self) -> None:
            pass

        def query(self) -> bool:
            return self.done

        def synchronize(self) -> None:
            self.done = True

        def elapsed_time(self, end: "Event") -> float:
            assert end.done
            return 2.0

    monkeypatch.setattr(device, "_event", Event)
    watch = device.Stopwatch(torch.device("cuda"))
    for _ in range(device.MOST_MARKS):
        with watch.running():
            pass
    assert len(watch._marks) == 3
    assert watch.seconds == pytest.approx(device.MOST_MARKS * 0.002)
    assert not watch._marks


@pytest.mark.gpu
def test_a_stopwatch_counts_the_work_of_cuda_and_not_its_launch() -> None:
    found = device.pick_device("cuda")
    square = torch.ones(8192, 8192, device=found)
    square @ square
    device.synchronize(found)
    watch = device.Stopwatch(found)
    begin = time.perf_counter()
    with watch.running():
        for _ in range(20):
            square @ square
    launched = time.perf_counter() - begin
    device.synchronize(found)
    done = time.perf_counter() - begin
    assert watch.seconds == pytest.approx(done, rel=0.2)
    assert watch.seconds > 2 * launched
    assert watch.seconds == watch.seconds


def test_a_draw_moves_the_generators_of_the_device() -> None:
    here = torch.device("cpu")
    before = device.generator_states(here)
    assert all(map(torch.equal, before, device.generator_states(here)))
    torch.rand(1)
    assert not all(map(torch.equal, before, device.generator_states(here)))


@pytest.mark.gpu
def test_a_draw_on_cuda_is_seen() -> None:
    found = device.pick_device("cuda")
    before = device.generator_states(found)
    torch.rand(1, device=found)
    assert not all(map(torch.equal, before, device.generator_states(found)))


def test_backward_fills_gradients() -> None:
    weight = torch.tensor(3.0, requires_grad=True)
    device.backward(weight * weight)
    assert weight.grad == 6.0
