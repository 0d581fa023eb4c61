"""A run says which students learn from stored soft labels, and for which the teacher runs live."""

from typing import Any

import pytest

from compress.config.distill import distill_config, plan_students
from compress.stages.lessons import late_ramps, lessons_of

NOBODY = "no student learns from the teacher: all weight is on the labels"
ONCE = "the teacher runs once per view"
ALWAYS = "the teacher runs live at every step"


def said(**changes: Any) -> tuple[str, str]:
    """The kind and the sentence of a run of one student."""
    asked = {"student": ["small_cnn"], **changes}
    found = lessons_of(plan_students(distill_config(asked)))
    return found.kind, str(found)


def test_a_run_of_both_kinds_names_who_learns_from_what() -> None:
    kind, sentence = said(data="cifar10", recipe="cifar10-small-cnn")
    assert kind == "both"
    stored, live = sentence.split("; ")
    names = [f"small_cnn-{loss}" for loss in ("kd", "logit-std", "dkd", "dist")]
    assert stored == f"{', '.join(names)}: from stored soft labels, {ONCE}"
    assert live == f"small_cnn-attention: from its features, {ALWAYS}"


def test_a_sum_of_both_kinds_learns_from_both() -> None:
    kind, sentence = said(loss=["kd", "fitnet"])
    assert kind == "both"
    assert sentence.count("small_cnn: ") == 2


def test_a_student_of_several_seeds_is_named_once() -> None:
    _, sentence = said(sweep={"loss": ["kd", "rkd"]}, seeds=[0, 1])
    assert sentence.count("small_cnn-kd") == sentence.count("small_cnn-rkd") == 1
    assert "-s0" not in sentence


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"loss": ["kd"]}, ("stored", f"students learn from stored soft labels; {ONCE}")),
        ({"loss": ["rkd"]}, ("live", f"{ALWAYS}, for losses on its features")),
        (
            {"alpha": 0},
            ("stored", "no student learns from the teacher: all weight is on the labels"),
        ),
    ],
)
def test_a_run_of_one_kind_says_so(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    assert said(**changes) == expected


def late(epochs: int, **changes: Any) -> str | None:
    """What is said of the ramps of a training of so many epochs."""
    asked = {"student": ["small_cnn"], "epochs": epochs, **changes}
    return late_ramps(plan_students(distill_config(asked)), epochs)


def test_ramps_that_go_on_after_the_training_are_named_once() -> None:
    ramp = {"alpha": 0.9, "alpha_from": 0.5, "alpha_ramp_epochs": 50, "seeds": [0, 1]}
    said = late(20, **ramp)
    assert said is not None
    assert said.endswith("ce (50 epochs), kd (50 epochs)")
    assert "training of 20 epochs" in said


@pytest.mark.parametrize(
    "loss", ["kd", "kd:ramp_epochs=3", "ce:ramp_epochs=2 + kd", "dkd", "dkd:ramp_from=0.5"]
)
def test_ramps_that_end_in_the_training_need_no_word(loss: str) -> None:
    assert late(3, sweep={"loss": [loss]}) is None
