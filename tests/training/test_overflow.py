"""float16 has a small range: what overflows there is left out, or refused."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.config.training import Optimization
from compress.errors import UnusableError
from compress.training import teachers
from compress.training.distributed import World
from compress.training.formats import Format
from compress.training.inputs import TrainingImages
from compress.training.learner import Learner
from compress.training.soft_labels import relative
from compress.training.teachers import Trust
from tests.tiny_training import CPU, a_batch, digits, learner, linear, schedule, teacher

LARGE = 1e6
"""A weight beyond the range of float16."""


class Overflowing(World):
    """Stands in for two ranks, of which the other's gradients overflow in the first step."""

    steps = 0

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        for parameter in parameters if self.steps == 0 else ():
            assert parameter.grad is not None
            parameter.grad.fill_(float("inf"))
        object.__setattr__(self, "steps", self.steps + 1)


def test_an_overflow_on_one_rank_is_skipped_on_all() -> None:
    """float16: gradients meet before they are looked at, so the scale falls here too."""
    student = learner(model=linear(), format=Format(dtype="float16"), world=Overflowing())
    scale = student.state()["scaler"]["scale"]
    student.step(a_batch(), None, {}, step=0)
    assert not student.model[1].weight.any()
    assert student.state()["scaler"]["scale"] == scale / 2


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_after_an_overflow_the_first_step_is_like_any_first_step(optimizer: str) -> None:
    """Nothing of the step that was left out is in the momentum."""
    settings = Optimization(optimizer=optimizer, learning_rate=0.01)

    def trained(world: World, steps: int) -> Learner:
        student = learner(
            model=linear(), format=Format(dtype="float16"), world=world, optimization=settings
        )
        for _ in range(steps):
            student.step(a_batch(), None, {}, step=0)
        return student

    overflowed, plain = trained(Overflowing(), 2), trained(World(), 1)
    assert plain.model[1].weight.any()
    torch.testing.assert_close(overflowed.weights(), plain.weights(), rtol=1e-3, atol=1e-6)
    for mine, other in zip(momenta(overflowed), momenta(plain), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-6)


def momenta(student: Learner) -> list[Tensor]:
    """What its optimizer keeps of past gradients."""
    kept = [state for _, state in sorted(student.state()["optimizer"]["state"].items())]
    names = ("momentum_buffer", "exp_avg", "exp_avg_sq")
    return [state[name] for state in kept for name in names if name in state]


def test_a_format_in_which_the_teacher_overflows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "network_of", lambda *_: linear(LARGE))
    trust = teacher(tmp_path).compare(Format(dtype="float16"))
    assert trust.format.dtype == "float32"
    assert "float16 overflows in" in trust.refused


def test_answers_that_are_no_numbers_are_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "network_of", lambda *_: linear(LARGE))
    asked = teacher(tmp_path)
    images = TrainingImages(digits().train, device=CPU)
    asked.trust = Trust(Format(dtype="float16"))
    with pytest.raises(UnusableError, match=r"answers NaN or infinity in float16 \(view 0\)"):
        asked.answer(images, schedule(Path()).view(digits(), 0), lambda _: None)


def test_a_teacher_whose_answers_are_no_numbers_anywhere_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "network_of", lambda *_: linear(float("nan")))
    with pytest.raises(UnusableError, match=r"answers NaN or infinity$"):
        teacher(tmp_path).compare(Format(dtype="float16"))


def test_what_lies_below_the_range_is_stored_as_its_lowest_number() -> None:
    stored = relative(np.array([[1e6, 0.0, 1e6 - 1]], dtype=np.float32))
    assert stored.tolist() == [[0.0, -65504.0, -1.0]]
