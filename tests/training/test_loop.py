"""The loop: the same batches for every student, exact resume, and what must not be saved."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compress import evaluate
from compress.config.training import Optimization
from compress.errors import Interrupted, UnusableError
from compress.interrupts import StopRequest
from compress.training.inputs import Batch
from compress.training.learner import Learner
from compress.training.loop import Nobody, Position
from tests.notes import Notes
from tests.tiny_training import (
    CPU,
    Given,
    Killed,
    digits,
    learner,
    network,
    objective,
    run,
    same_weights,
)

STEPS = 4  # 150 images in batches of 32


class Watched(Learner):
    """A learner that keeps what it was shown."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.shown: list[tuple[int, Batch, Tensor | None]] = []
        self.modes: list[bool] = []
        self.model.register_forward_pre_hook(lambda module, _: self.modes.append(module.training))

    def step(
        self, batch: Batch, soft: Tensor | None, teacher: Mapping[str, Tensor], *, step: int
    ) -> None:
        images = batch.images.clone()
        self.shown.append((step, Batch(images, batch.targets.clone(), batch.rows.clone()), soft))
        super().step(batch, soft, teacher, step=step)


def watched(label: str = "a", **options: Any) -> Watched:
    found = learner(label, kind=Watched, **options)
    assert isinstance(found, Watched)
    return found


def test_a_student_ends_the_same_alone_and_in_company() -> None:
    def taught() -> Learner:
        return learner("a", goal=objective("kd", ce_weight=0.1), seed=3)

    alone, accompanied = taught(), taught()
    run([alone])
    others = [learner(name, seed=seed) for name, seed in (("b", 3), ("c", 4))]
    run([others[0], accompanied, others[1]])
    assert same_weights(alone.model.state_dict(), accompanied.model.state_dict())
    assert alone.best is not None
    assert accompanied.best is not None
    assert same_weights(alone.best, accompanied.best)


def test_the_control_sees_the_very_batches_of_the_student() -> None:
    student, control = watched("a", goal=objective("kd")), watched("control")
    run([student, control])
    assert len(student.shown) == 2 * STEPS
    for mine, theirs in zip(student.shown, control.shown, strict=True):
        assert mine[0] == theirs[0]
        assert torch.equal(mine[1].images, theirs[1].images)
        assert torch.equal(mine[1].targets, theirs[1].targets)


def test_each_image_meets_the_stored_answer_to_it() -> None:
    student, source = watched(goal=objective("kd")), Given(digits())
    run([student], source=source)
    for step, batch, soft in student.shown:
        stored = source.logits(step // STEPS)[batch.rows]
        assert soft is not None
        assert soft.dtype == torch.float32
        assert torch.equal(soft, stored.float())


def test_an_epoch_follows_its_view_and_drops_the_smaller_last_batch() -> None:
    student = watched()
    run([student], epochs=1)
    rows = torch.cat([batch.rows for _, batch, _ in student.shown]).tolist()
    assert len(rows) == 128  # of 150
    assert len(set(rows)) == 128


def test_epochs_share_views_where_there_are_fewer() -> None:
    source = Given(digits())
    student = watched(goal=objective("kd"), epochs=5)
    run([student], source=source, epochs=5, views=2)
    assert source.views == [0, 1, 0, 1, 0]
    first, third = student.shown[0][1], student.shown[2 * STEPS][1]
    assert torch.equal(first.images, third.images)


def test_the_student_trains_in_train_mode_in_every_epoch() -> None:
    student = watched(epochs=3)
    run([student], epochs=3)
    assert student.modes == ([True] * STEPS + [False]) * 3


def test_threads_that_prepare_batches_change_nothing() -> None:
    students = [learner(), learner()]
    for student, workers in zip(students, (0, 2), strict=True):
        run([student], workers=workers)
    assert same_weights(students[0].weights(), students[1].weights())


def test_without_a_teacher_there_are_no_soft_labels() -> None:
    student = watched()
    run([student], source=Nobody(), epochs=1)
    assert [soft for _, _, soft in student.shown] == [None] * STEPS


def test_the_log_tells_each_epoch_of_each_student() -> None:
    students = [learner("a"), learner("b", seed=1)]
    position = run(students)
    assert [(r.label, r.epoch) for r in position.log] == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    splits = digits()
    pixels = torch.from_numpy(splits.validation.images[:]).permute(0, 3, 1, 2)
    logits = students[0].logits(pixels)
    last = position.log[2]
    assert last.val_top1 == (logits.argmax(axis=1) == splits.validation.known_labels).mean()
    assert last.val_loss == pytest.approx(evaluate.nll(logits, splits.validation.known_labels))
    assert last.learning_rate == pytest.approx(0.05 * 0.5 * (1 + np.cos(np.pi * 7 / 8)))
    assert last.images_per_second > 0


def test_the_kept_epoch_is_the_best_on_validation() -> None:
    student = learner(epochs=4, optimization=Optimization(learning_rate=0.5))
    seen: list[dict[str, Tensor]] = []
    position = run([student], epochs=4, save=lambda _: seen.append(student.weights()))
    ranks = [(record.val_top1, -record.val_loss) for record in position.log]
    best = ranks.index(max(ranks))
    assert student.best_epoch == best + 1
    assert student.best is not None
    assert same_weights(student.best, seen[best])


def test_the_last_epoch_is_kept_where_that_is_asked_for() -> None:
    """With a rate that rises at the end the last epoch is not the best."""
    rising = Optimization(schedule="multi-step", milestones=(0.75,), gamma=20.0, select="last")
    student = learner(epochs=4, optimization=rising)
    position = run([student], epochs=4)
    ranks = [(record.val_top1, -record.val_loss) for record in position.log]
    assert ranks.index(max(ranks)) != 3
    assert student.best_epoch == 4
    assert student.best is not None
    assert same_weights(student.best, student.weights())


@pytest.mark.parametrize("killed_at", range(1, 2 * STEPS))
def test_going_on_from_any_checkpoint_ends_bit_for_bit_the_same(killed_at: int) -> None:
    """Checkpoints after every step, a kill right after one, and new objects go on from it."""
    optimization = Optimization(learning_rate=0.05, ema_decay=0.9)

    def fresh() -> list[Learner]:
        return [
            learner("a", goal=objective("kd"), optimization=optimization),
            learner("control", optimization=optimization),
        ]

    whole = fresh()
    expected = run(whole)
    begun, stored, saves = fresh(), io.BytesIO(), [0]

    def save(position: Position) -> None:
        stored.seek(0)
        stored.truncate()
        states = [one.state() for one in begun]
        torch.save({"position": position.state(), "learners": states}, stored)
        saves[0] += 1
        if saves[0] == killed_at:
            raise Killed

    with pytest.raises(Killed):
        run(begun, save=save, checkpoint_every=1)
    stored.seek(0)
    saved = torch.load(stored, weights_only=True)
    resumed = fresh()
    for one, state in zip(resumed, saved["learners"], strict=True):
        one.load_state(state)
    position = run(resumed, position=Position.from_state(saved["position"]), checkpoint_every=1)
    for one, other in zip(whole, resumed, strict=True):
        assert same_weights(one.model.state_dict(), other.model.state_dict())
        assert same_weights(one.weights(), other.weights())
        assert one.best is not None
        assert other.best is not None
        assert same_weights(one.best, other.best)
    times = {"seconds": 0.0, "images_per_second": 0.0}
    logs = [[r.model_copy(update=times) for r in p.log] for p in (expected, position)]
    assert logs[0] == logs[1]


def test_checkpoints_inside_an_epoch_come_when_asked_for() -> None:
    saved: list[tuple[int, int]] = []
    run([learner()], checkpoint_every=3, save=lambda p: saved.append((p.epoch, p.step)))
    assert saved == [(0, 3), (1, 0), (1, 3), (2, 0)]


class Poisoned(Learner):
    """A learner whose weights become NaN in one step."""

    poisoned_at = 5

    def step(
        self, batch: Batch, soft: Tensor | None, teacher: Mapping[str, Tensor], *, step: int
    ) -> None:
        super().step(batch, soft, teacher, step=step)
        if step == self.poisoned_at:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("nan"))


@pytest.mark.parametrize("every", [0, 1, 2])
@pytest.mark.parametrize("poisoned_at", [5, 2 * STEPS - 1])
def test_a_checkpoint_never_holds_weights_that_gave_no_number(every: int, poisoned_at: int) -> None:
    student = learner(kind=Poisoned)
    assert isinstance(student, Poisoned)
    student.poisoned_at = poisoned_at
    saved: list[tuple[int, Mapping[str, Tensor]]] = []

    def save(position: Position) -> None:
        saved.append((position.epoch * STEPS + position.step, student.weights()))

    with pytest.raises(UnusableError, match=r"^a diverged: .* is not finite"):
        run([student], checkpoint_every=every, save=save)
    good = poisoned_at - poisoned_at % every if every else STEPS
    assert saved[-1][0] == good
    assert all(torch.isfinite(value).all() for value in saved[-1][1].values())


@pytest.mark.parametrize("every", [0, 1, 2])
@pytest.mark.parametrize("poisoned_at", [0, 5, 2 * STEPS - 1])
def test_who_diverges_is_left_out_and_told_of_once(every: int, poisoned_at: int) -> None:
    alone, sound = learner("b", seed=1), learner("b", seed=1)
    expected = run([alone], checkpoint_every=every)
    poisoned = learner(kind=Poisoned)
    assert isinstance(poisoned, Poisoned)
    poisoned.poisoned_at = poisoned_at
    learners: list[Learner] = [poisoned, sound]
    told, saved = [], []
    position = run(
        learners,
        checkpoint_every=every,
        leave_out=lambda one, error: told.append((one.label, error.message)),
        save=lambda p: saved.append((p.epoch, p.step, len(learners))),
    )
    assert learners == [sound]
    assert same_weights(sound.model.state_dict(), alone.model.state_dict())
    assert [label for label, _ in told] == ["a"]
    assert "is not finite at learning rate 0.05" in told[0][1]
    epochs = [(r.label, r.epoch) for r in position.log]
    assert epochs == [*([("a", 1)] if poisoned_at >= STEPS else []), ("b", 1), ("b", 2)]
    assert [r.loss for r in position.log if r.label == "b"] == [r.loss for r in expected.log]
    good = poisoned_at - poisoned_at % every if every else poisoned_at - poisoned_at % STEPS
    with_both = [epoch * STEPS + step for epoch, step, count in saved if count == 2]
    assert max(with_both, default=0) == good


def test_a_stop_is_obeyed_after_the_epoch_is_saved() -> None:
    stop, saved = StopRequest(), []

    class Asking(Learner):
        def step(self, *arguments: Any, **options: Any) -> None:
            super().step(*arguments, **options)
            stop.requested = True

    with pytest.raises(Interrupted, match="stopped after epoch 1 of 2"):
        run([learner(kind=Asking)], stop=stop, save=lambda p: saved.append(p.epoch))
    assert saved == [1]


def test_a_stop_in_the_last_epoch_lets_it_end() -> None:
    position = run([learner(epochs=1)], epochs=1, stop=StopRequest(requested=True))
    assert position.epoch == 1


def test_progress_hears_of_every_epoch() -> None:
    notes = Notes()
    run([learner()], progress=notes)
    assert notes.started == ["epoch 1/2: 4 step", "epoch 2/2: 4 step"]


@pytest.mark.parametrize("count", [4, 5])
def test_the_line_of_an_epoch_names_up_to_four_models(count: int) -> None:
    notes = Notes()
    position = run(
        [learner(f"m{seed}", seed=seed, epochs=1) for seed in range(count)],
        epochs=1,
        progress=notes,
    )
    rate = f"{position.log[0].images_per_second:.0f} images/s"
    shares = [record.val_top1 for record in position.log]
    each = "  ".join(f"{r.label} loss {r.loss:.3f} val {r.val_top1:.2%}" for r in position.log)
    best = position.log[shares.index(max(shares))].label
    span = f"val {min(shares):.2%} to {max(shares):.2%} (best {best})"
    shown = each if count <= 4 else f"{count} models, {span}"
    assert notes.finished == [f"epoch 1/1  {shown}  {rate}"]


def test_a_position_survives_as_plain_values() -> None:
    position = run([learner()])
    assert Position.from_state(position.state()) == position


def test_training_starts_in_train_mode_after_a_network_came_evaluating() -> None:
    student = watched(model=network().eval(), epochs=1)
    run([student], epochs=1)
    assert student.modes[0] is True


def test_buffers_of_the_student_move_and_stay_finite() -> None:
    student = learner(model=nn.Sequential(network(), nn.Identity()), epochs=1)
    before = student.model[0][1].running_mean.clone()
    run([student], epochs=1)
    after = student.model[0][1].running_mean
    assert after.device == CPU
    assert not torch.equal(before, after)
