"""Several processes as one training: who writes, and how numbers meet."""

import atexit
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from compress.errors import CompressError, MachineError
from compress.training.device import used_from_now_on

Decision = TypeVar("Decision")
TIMEOUT = timedelta(hours=2)
"""A rank may wait this long for rank 0 to evaluate and write."""


@dataclass(frozen=True)
class World:
    """The processes of one run, as torchrun started them.

    Attributes:
        rank: This process, from 0; only rank 0 writes.
        size: How many there are.
        local_rank: This process among those of its machine, which is its CUDA device.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This rank's contiguous part of `count` items; parts differ by at most one item."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.size > 1:
            dist.barrier()

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its mean over ranks, in one message.

        Args:
            parameters: Those of the model, in one order on every rank.
        """
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        offset = 0
        for gradient in gradients:
            part = flat[offset : offset + gradient.numel()]
            gradient.copy_(part.view(gradient.shape))
            offset += gradient.numel()

    def sum(self, values: Tensor) -> Tensor:
        """Sum a small tensor over ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def from_main(self, decide: Callable[[], Decision]) -> Decision:
        """What rank 0 decides, on every rank; the others do not decide at all.

        Args:
            decide: Called on rank 0 only; what it returns can be pickled.

        Raises:
            CompressError: What it raised on rank 0, on every rank: nobody is left waiting, and
                only rank 0 tells it. Where that was no CompressError, a MachineError elsewhere.
        """
        if self.size == 1:
            return decide()
        failed: Exception | None = None
        decided: list[Decision | CompressError | None] = [None]
        if self.main:
            try:
                decided = [decide()]
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody may be left waiting
                failed = error
                own = "rank 0 failed, and says why itself"
                decided = [error if isinstance(error, CompressError) else MachineError(own)]
        dist.broadcast_object_list(decided, src=0)
        if failed is not None:
            raise failed
        if isinstance(decided[0], CompressError):
            decided[0].told = True
            raise decided[0]
        return cast("Decision", decided[0])

    def fail_together(self, failed: Exception | None) -> None:
        """End on every rank what failed on one, before they wait for each other.

        Args:
            failed: What went wrong on this rank, or None.

        Raises:
            Exception: `failed` itself; only its rank tells it.
            MachineError: On the ranks where nothing went wrong.
        """
        if not self.agree(failed is not None):
            return
        if failed is not None:
            raise failed
        error = MachineError("another rank failed, and says why itself")
        error.told = True
        raise error

    def gather_rows(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Concatenate every rank's rows, in rank order, on every rank.

        Args:
            rows: Shape (rows of this rank, columns).
        """
        if self.size == 1:
            return rows
        parts: list[NDArray[np.float32] | None] = [None] * self.size
        dist.all_gather_object(parts, rows)
        return np.concatenate([part for part in parts if part is not None])

    def agree(self, flag: bool) -> bool:
        """Whether any rank says yes: a signal may reach only one of them."""
        if self.size == 1:
            return flag
        value = torch.tensor([int(flag)])
        if dist.get_backend() == "nccl":
            value = value.cuda()
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value.item())


def join(device: str) -> World:
    """Join the processes torchrun started; alone without it.

    Args:
        device: As given to `--device`; CUDA ranks talk over NCCL, others over gloo.

    Raises:
        MachineError: This machine has fewer GPUs than ranks, or one cannot be used.
    """
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return World()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        _check_devices(int(os.environ.get("LOCAL_WORLD_SIZE", local_rank + 1)))
        used_from_now_on(local_rank)
    if not dist.is_initialized():
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            timeout=TIMEOUT,
            device_id=torch.device("cuda", local_rank) if cuda else None,
        )
        atexit.register(dist.destroy_process_group)
    return World(dist.get_rank(), dist.get_world_size(), local_rank)


@contextmanager
def alone_on_failure() -> Iterator[None]:
    """What fails in it ends this process, whatever the other ranks do; also a decorator.

    Ranks take leave of each other as their processes end, and over NCCL they do so together: one
    that fails alone would wait there for the others, which wait for it somewhere else. So it leaves
    without a word: PyTorch then aborts its connections, and torchrun, which sees it end, ends the
    others. Over gloo nobody waits.
    """
    try:
        yield
    except BaseException:
        if dist.is_available() and dist.is_initialized() and dist.get_backend() == "nccl":
            atexit.unregister(dist.destroy_process_group)
        raise


def _check_devices(ranks: int) -> None:
    """Refuse more ranks on this machine than it has GPUs; every rank of it finds the same.

    Raises:
        MachineError: There are too few.
    """
    devices = torch.cuda.device_count()
    if ranks > devices:
        raise MachineError(
            f"{ranks} ranks on a machine with {devices} CUDA device" + "s" * (devices != 1),
            hint=f"use torchrun --nproc-per-node {devices}, or --device cpu",
        )
