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
        average.move(0.75)
        values.append(average.model.get_parameter("weight").item())
    # 0.75 * 1 + 0.25 * 2, then 0.75 * 1.25 + 0.25 * 4
    assert values == pytest.approx([1.25, 1.9375])
    assert model.weight.item() == 4.0


def test_statistics_are_averaged_and_counters_are_copied() -> None:
    model = nn.BatchNorm1d(1)
    average = MovingAverage(model)
    model.running_mean.fill_(8.0)
    model.num_batches_tracked.fill_(3)
    average.move(0.5)
    assert average.model.get_buffer("running_mean").item() == 4.0
    assert average.model.get_buffer("num_batches_tracked").item() == 3


def test_it_still_follows_after_both_were_loaded() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = MovingAverage(model)
    for module, value in ((model, 10.0), (average.model, 0.0)):
        module.load_state_dict({"weight": torch.tensor([[value]])})
    average.move(0.9)
    assert average.model.get_parameter("weight").item() == pytest.approx(1.0)
