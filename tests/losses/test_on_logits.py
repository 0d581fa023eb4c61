import pytest
import torch

from compress.config.specs import LossTerm
from compress.errors import ConfigError
from compress.losses.logits import dkd, kd
from compress.losses.registry import Outputs, build

LOGITS = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
TEACHER = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
LABELS = torch.tensor([0, 2])


def test_options_reach_the_function() -> None:
    loss = build(LossTerm.parse("kd:temperature=3"))
    expected = kd(LOGITS, TEACHER, temperature=3.0)
    assert loss(Outputs(LOGITS), Outputs(TEACHER), LABELS).item() == expected.item()


def test_labels_reach_the_function_that_takes_them() -> None:
    loss = build(LossTerm.parse("dkd:temperature=2,alpha=3,beta=5"))
    expected = dkd(LOGITS, TEACHER, LABELS, temperature=2.0, alpha=3.0, beta=5.0)
    assert loss(Outputs(LOGITS), Outputs(TEACHER), LABELS).item() == expected.item()


def test_no_gradient_flows_into_the_teacher() -> None:
    student, teacher = LOGITS.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    build(LossTerm(name="kd"))(Outputs(student), Outputs(teacher), LABELS).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_mixed_labels_are_refused_by_a_loss_on_the_target_class() -> None:
    loss = build(LossTerm(name="dkd"))
    with pytest.raises(ConfigError, match="one class per image"):
        loss(Outputs(LOGITS), Outputs(TEACHER), torch.full((2, 3), 1 / 3))


def test_mixed_labels_do_not_matter_to_the_others() -> None:
    loss = build(LossTerm(name="dist"))
    mixed = loss(Outputs(LOGITS), Outputs(TEACHER), torch.full((2, 3), 1 / 3))
    assert mixed.item() == loss(Outputs(LOGITS), Outputs(TEACHER), LABELS).item()


def test_autocast_does_not_shorten_the_computation() -> None:
    loss = build(LossTerm(name="kd"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(Outputs(LOGITS), Outputs(TEACHER), LABELS)
    assert inside.item() == loss(Outputs(LOGITS), Outputs(TEACHER), LABELS).item()
