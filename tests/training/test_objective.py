"""What a student minimises."""

import dataclasses

import pytest
from torch import nn

from compress.config.specs import LossTerm
from compress.losses import registry as losses
from compress.training.objective import Objective, Term
from tests.tiny_training import network, objective


def on_features(name: str) -> Term:
    """A loss between the convolutions of two networks."""
    asked = LossTerm(name=name, options={"student_taps": "2", "teacher_taps": "3"})
    built = losses.build_for(asked, student=network(), teacher=network(), image_size=8)
    return Term(asked, built)


@pytest.mark.parametrize(
    ("terms", "reads"),
    [
        ((), False),
        (objective("kd").terms, True),
        ((on_features("fitnet"),), False),
        ((on_features("fitnet"), *objective("kd").terms), True),
    ],
    ids=["control", "logits", "features", "both"],
)
def test_logits_are_read_by_losses_on_logits_only(terms: tuple[Term, ...], reads: bool) -> None:
    assert Objective(1.0, 0.0, terms).reads_logits is reads


def test_taps_and_projectors_are_those_of_its_terms() -> None:
    goal = Objective(1.0, 0.0, (on_features("fitnet"), on_features("rkd")))
    assert goal.student_taps == ("2",)
    assert goal.teacher_taps == ("3",)
    assert [type(module) for module in goal.modules] == [nn.ModuleList]


def test_the_weight_of_the_labels_goes_in_a_straight_line() -> None:
    goal = dataclasses.replace(objective(ce_weight=0.2), ce_from=1.0, ce_ramp_epochs=4)
    assert [goal.ce_weight_at(epoch) for epoch in (0, 1, 2, 4, 9)] == pytest.approx(
        [1.0, 0.8, 0.6, 0.2, 0.2]
    )
