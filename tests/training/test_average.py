"""The moving average of weights."""

import pytest
import torch
from torch import nn

from compress.training.average import MovingAverage


def test_the_average_moves_by_its_share_of_the_way() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = MovingAverage(model)
    values = []
    for value in (2.0, 4.0):
        nn.init.constant_(model.weight, value)
        average.move(0.75, step=1000)
        values.append(average.model.get_parameter("weight").item())
    # 0.75 * 1 + 0.25 * 2, then 0.75 * 1.25 + 0.25 * 4
    assert values == pytest.approx([1.25, 1.9375])
    assert model.weight.item() == 4.0


def test_at_first_it_is_the_mean_over_the_steps_without_the_initial_weights() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 100.0)
    average = MovingAverage(model)
    values = []
    for step, value in enumerate((2.0, 4.0, 9.0, 9.0)):
        nn.init.constant_(model.weight, value)
        average.move(2 / 3, step=step)
        values.append(average.model.get_parameter("weight").item())
    # 2, (2 + 4) / 2, (2 + 4 + 9) / 3, then 2/3 * 5 + 1/3 * 9
    assert values == pytest.approx([2.0, 3.0, 5.0, 19 / 3])


def test_statistics_are_averaged_and_counters_are_copied() -> None:
    model = nn.BatchNorm1d(1)
    average = MovingAverage(model)
    model.running_mean.fill_(8.0)
    model.num_batches_tracked.fill_(3)
    average.move(0.5, step=1000)
    assert average.model.get_buffer("running_mean").item() == 4.0
    assert average.model.get_buffer("num_batches_tracked").item() == 3


def test_it_still_follows_after_both_were_loaded() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = MovingAverage(model)
    for module, value in ((model, 10.0), (average.model, 0.0)):
        module.load_state_dict({"weight": torch.tensor([[value]])})
    average.move(0.9, step=1000)
    assert average.model.get_parameter("weight").item() == pytest.approx(1.0)
