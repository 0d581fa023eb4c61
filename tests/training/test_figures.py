"""The running figures of an epoch."""

from typing import Any

import pytest
import torch

from compress.training.distributed import World
from compress.training.figures import Figures

LOGITS = torch.eye(4)


def figures(world: World | None = None) -> Figures:
    found = Figures(torch.device("cpu"), world or World())
    found.add(torch.tensor(1.5), LOGITS, torch.tensor([0, 1, 0, -1]))
    found.add(torch.tensor(0.5), LOGITS[:2], torch.tensor([-1, -1]))
    return found


def test_the_loss_is_a_mean_over_steps_and_top1_one_over_labelled_images() -> None:
    found = figures()
    assert found.means() == (1.0, 2 / 3)
    found.clear()
    assert found.means() == (0.0, 0.0)
    found.add(torch.tensor(3.0), LOGITS, torch.full((4,), -1))
    assert found.means() == (3.0, 0.0)


def test_a_state_goes_on_to_the_bit() -> None:
    first, second = figures(), Figures(torch.device("cpu"), World())
    second.load_state(first.state())
    assert second.means() == first.means()
    assert second.state() == first.state()


class Pair(World):
    """One of two ranks, which never meets the other."""

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """What this rank has."""
        return values


@pytest.mark.parametrize("rank", [0, 1])
def test_each_rank_takes_its_own_sums(rank: int) -> None:
    state = {
        "loss_sum": torch.tensor([2.0, 6.0]),
        "correct": torch.tensor([1.0, 3.0]),
        "seen": torch.tensor([4.0, 6.0]),
        "steps_done": 2,
    }
    found = Figures(torch.device("cpu"), Pair(rank=rank, size=2))
    found.load_state(state)
    assert found.means() == ((1.0, 0.25), (3.0, 0.5))[rank]


@pytest.mark.parametrize("rank", [0, 1])
def test_older_states_count_the_images_of_all_ranks_once(rank: int) -> None:
    state: dict[str, Any] = {
        "loss_sum": torch.tensor([2.0, 6.0]),
        "correct": torch.tensor([1.0, 3.0]),
        "seen": 4,
        "steps_done": 2,
    }
    found = Figures(torch.device("cpu"), Pair(rank=rank, size=2))
    found.load_state(state)
    assert found.means() == ((1.0, 0.25), (3.0, 0.75))[rank]
