"""Optimizers and schedules."""

import math

import pytest
import torch
from torch import nn

from compress.training.optim import build_optimizer, parameter_groups, rate_factor


def test_weight_decay_spares_biases_and_normalisation() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    decayed, spared = parameter_groups([model], weight_decay=0.1)
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0.0
    assert isinstance(decayed["params"], list)
    assert isinstance(spared["params"], list)
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3, 3, 3), (2, 4)]
    assert len(spared["params"]) == 4


def test_cosine_begins_at_the_peak_and_ends_near_zero() -> None:
    assert rate_factor(0, steps=100, schedule="cosine") == 1.0
    assert rate_factor(50, steps=100, schedule="cosine") == pytest.approx(0.5)
    assert rate_factor(99, steps=100, schedule="cosine") == pytest.approx(
        0.5 * (1 + math.cos(math.pi * 0.99))
    )


def test_warmup_rises_in_equal_steps_before_the_peak() -> None:
    rates = [rate_factor(s, steps=20, schedule="cosine", warmup_steps=4) for s in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_one_cycle_peaks_at_thirty_per_cent() -> None:
    rates = [rate_factor(s, steps=100, schedule="one-cycle") for s in range(100)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(range(100), key=lambda s: rates[s]) == 30
    assert rates[30] == pytest.approx(1.0)
    assert rates[99] < 0.01


def test_multi_step_multiplies_at_each_milestone() -> None:
    def rate(step: int) -> float:
        return rate_factor(
            step, steps=100, schedule="multi-step", milestones=(0.5, 0.75), gamma=0.1
        )

    assert [rate(s) for s in (0, 49, 50, 74, 75, 99)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_sgd_uses_nesterov_momentum() -> None:
    """One step from rest: Nesterov moves lr * g * (1 + momentum)."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    optimizer = build_optimizer(
        [model], name="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.0
    )
    model(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    assert model.weight.item() == pytest.approx(1.0 - 0.1 * 1.9)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_decay_shrinks_matrices_alone_by_rate_times_decay(name: str) -> None:
    """Without a gradient nothing else moves; Adam's own L2 penalty would move by the rate."""
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 2.0)
    nn.init.constant_(layer.bias, 3.0)
    optimizer = build_optimizer(
        [layer], name=name, learning_rate=0.1, momentum=0.0, weight_decay=0.3
    )
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert layer.weight.item() == pytest.approx(2 * (1 - 0.1 * 0.3))
    assert layer.bias.item() == 3


@pytest.mark.parametrize(("scaled", "fused"), [(False, True), (True, False)])
def test_steps_that_may_be_left_out_are_not_fused(scaled: bool, fused: bool) -> None:
    optimizer = build_optimizer(
        [nn.Linear(1, 1)],
        name="sgd",
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=0.0,
        scaled=scaled,
    )
    assert optimizer.defaults["fused"] is fused


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="adam2"):
        build_optimizer(
            [nn.Linear(1, 1)], name="adam2", learning_rate=1, momentum=0, weight_decay=0
        )
    with pytest.raises(ValueError, match="linear"):
        rate_factor(0, steps=1, schedule="linear")
