"""Every setting of a student reaches its step."""

import numpy as np
import pytest
import torch
from torch import nn

from compress.config.training import Optimization
from compress.training.distributed import World
from tests.tiny_training import (
    CPU,
    a_batch,
    digits,
    learner,
    linear,
    network,
    normalised,
    objective,
)


def test_the_labels_are_smoothed() -> None:
    model, batch = network(dropout=0.0), a_batch()
    with torch.no_grad():
        logits = model.train()(normalised(batch)).double()
    student = learner(model=model, goal=objective(label_smoothing=0.1))
    student.step(batch, None, {}, step=0)
    smooth = 0.9 * nn.functional.one_hot(batch.targets, 10) + 0.1 / 10
    by_hand = -(smooth * logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert student.figures()[0] == pytest.approx(by_hand.item(), rel=1e-5)


def test_the_rate_warms_up_for_whole_epochs() -> None:
    settings = Optimization(learning_rate=0.2, warmup_epochs=1)
    student = learner(optimization=settings, epochs=2)
    assert digits().train.count // 32 == 4
    rates = []
    for step in range(5):
        student.step(a_batch(), None, {}, step=step)
        rates.append(student.learning_rate)
    assert rates == pytest.approx([0.04, 0.08, 0.12, 0.16, 0.2])


def test_each_step_of_each_rank_draws_another_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "average_gradients", lambda *_: None)
    students = [learner(world=World(rank, 2), device=CPU) for rank in range(2)]
    seeds: list[int] = []
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    for student in students:
        for step in range(3):
            student.step(a_batch(), None, {}, step=step)
    assert len(seeds) == len(set(seeds)) == 6


def test_the_average_is_what_is_evaluated_and_kept() -> None:
    settings = Optimization(learning_rate=0.1, momentum=0.0, weight_decay=0.0, ema_decay=0.25)
    student = learner(model=linear(), optimization=settings)
    seen = []
    for step in range(2):
        student.step(a_batch(), None, {}, step=step)
        seen.append(student.model[1].weight.detach().clone())
    average = 0.25 * seen[0] + 0.75 * seen[1]
    assert torch.allclose(student.weights()["1.weight"], average)
    pixels = a_batch().images
    expected = normalised(a_batch()).flatten(1) @ average.T
    assert np.allclose(student.logits(pixels), expected.numpy(), atol=1e-5)
