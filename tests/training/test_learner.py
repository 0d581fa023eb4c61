"""One student: its step, its figures, its state."""

import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compress.config.specs import LossTerm
from compress.config.training import Optimization
from compress.errors import MachineError, UnusableError
from compress.losses.registry import Outputs
from compress.models.folding import fold_batchnorm
from compress.training import learner as learners
from compress.training.inputs import Batch
from compress.training.learner import Learner
from compress.training.objective import Objective, Term
from tests.tiny_training import (
    a_batch,
    digits,
    learner,
    linear,
    network,
    normalised,
    objective,
    same_weights,
)


def soft_labels(size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 10, generator=generator)


def test_a_step_is_gradient_descent_with_nesterov_momentum_and_decay() -> None:
    """Equal weights answer 1/10 for every class: the gradient of CE is (1/10 - onehot) x / N."""
    settings = Optimization(learning_rate=0.1, momentum=0.9, weight_decay=0.3)
    student = learner(model=linear(0.01), optimization=settings)
    batch = a_batch()
    student.step(batch, None, {}, step=0)
    onehot = nn.functional.one_hot(batch.targets, 10).float()
    gradient = (0.1 - onehot).T @ normalised(batch).flatten(1) / 32
    expected = 0.01 - 0.1 * 1.9 * (gradient + 0.3 * 0.01)
    assert torch.allclose(student.model[1].weight, expected, atol=1e-6)


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    model = network(dropout=0.0)
    batch, soft = a_batch(), soft_labels()
    student = learner(
        model=model,
        goal=objective("kd:weight=0.5,temperature=2", "hard:weight=2", ce_weight=0.25),
    )
    with torch.no_grad():
        logits = model.train()(normalised(batch)).double()
    log_p, log_q = (torch.log_softmax(z.double() / 2, dim=1) for z in (logits, soft))
    kd = 4 * (log_q.exp() * (log_q - log_p)).sum(dim=1).mean()
    by_hand = (
        0.25 * nn.functional.cross_entropy(logits, batch.targets)
        + 0.5 * kd
        + 2 * nn.functional.cross_entropy(logits, soft.argmax(dim=1))
    )
    student.step(batch, soft, {}, step=0)
    assert student.figures()[0] == pytest.approx(by_hand.item(), rel=1e-5)


def test_a_ramp_follows_the_step() -> None:
    """Four steps an epoch: the weight is 0, 0.5 and 1 at steps 0, 4 and 8 of a ramp of 2 epochs."""
    goal = objective("hard:weight=1,ramp_epochs=2", ce_weight=0.0)
    losses = []
    for step in (0, 4, 8):
        student = learner(model=linear(), goal=goal, epochs=4)
        student.step(a_batch(), soft_labels(), {}, step=step)
        losses.append(student.figures()[0])
    assert losses == pytest.approx([0.0, 0.5 * np.log(10), np.log(10)])


def test_figures_are_means_over_the_epoch() -> None:
    head = nn.Linear(3 * 8 * 8, 10)
    nn.init.zeros_(head.weight)
    head.bias.data = torch.eye(10)[3]
    model = nn.Sequential(nn.Flatten(), head)
    student = learner(model=model, optimization=Optimization(learning_rate=1e-12))
    student.step(a_batch(32), None, {}, step=0)
    student.step(a_batch(32, first=32), None, {}, step=1)
    right = (digits().train.known_labels[:64] == 3).mean()
    loss, top1 = student.figures()
    assert top1 == right
    assert loss == pytest.approx(np.log(np.e + 9) - right)
    student.begin_epoch()
    assert student.figures() == (0.0, 0.0)


def test_mixed_targets_count_as_their_larger_part() -> None:
    student = learner(model=linear())
    shares = torch.zeros(2, 10)
    shares[0, 0], shares[0, 5] = 0.6, 0.4
    shares[1, 0], shares[1, 5] = 0.4, 0.6
    batch = a_batch(2)
    student.step(Batch(batch.images, shares, batch.rows), None, {}, step=0)
    assert student.figures()[1] == 0.5


def test_unlabelled_images_are_no_part_of_the_training_accuracy() -> None:
    student = learner(model=linear())
    shares = torch.zeros(4, 10)
    shares[0, 0] = shares[1, 5] = 1.0
    batch = a_batch(4)
    student.step(Batch(batch.images, shares, batch.rows), None, {}, step=0)
    assert student.figures()[1] == 0.5


def test_a_control_learns_nothing_from_unlabelled_images() -> None:
    student = learner(model=linear(), optimization=Optimization(weight_decay=0.0))
    before = student.weights()
    batch = a_batch(4)
    student.step(Batch(batch.images, torch.zeros(4, 10), batch.rows), None, {}, step=0)
    assert same_weights(before, student.weights())
    assert student.figures() == (0.0, 0.0)


def test_the_rate_follows_the_schedule() -> None:
    student = learner(optimization=Optimization(learning_rate=0.2), epochs=2)
    rates = []
    for step in (0, 4):
        student.step(a_batch(), None, {}, step=step)
        rates.append(student.learning_rate)
    assert rates == pytest.approx([0.2, 0.1])  # the cosine's middle is half of the peak


def test_the_gradient_is_clipped_to_its_largest_norm() -> None:
    settings = Optimization(learning_rate=1.0, momentum=0.0, weight_decay=0.0, clip_norm=0.01)
    student = learner(model=linear(), optimization=settings)
    student.step(a_batch(), None, {}, step=0)
    assert student.model[1].weight.norm().item() == pytest.approx(0.01, rel=1e-4)


def test_a_loss_on_a_teacher_needs_one() -> None:
    with pytest.raises(ValueError, match="no teacher"):
        learner(goal=objective("kd")).step(a_batch(), None, {}, step=0)


def test_a_loss_that_is_not_finite_is_unusable() -> None:
    student = learner(goal=objective("kd"))
    student.step(a_batch(), soft_labels() * float("nan"), {}, step=0)
    said = r"^a diverged: the loss is not finite at learning rate 0\.05$"
    with pytest.raises(UnusableError, match=said):
        student.figures()


def test_dropout_depends_on_seed_and_step_only() -> None:
    def after(seed: int, disturb: bool) -> dict[str, Tensor]:
        student = learner(model=network(), seed=seed)
        for step in range(3):
            if disturb:
                torch.rand(100)
            student.step(a_batch(), None, {}, step=step)
        return student.weights()

    assert same_weights(after(0, disturb=False), after(0, disturb=True))
    assert not same_weights(after(0, disturb=False), after(1, disturb=False))


def test_seeds_are_set_only_for_a_network_that_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step tells; functions that draw count like modules."""

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network(dropout=0.0)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.inner(images)
            return logits + torch.rand_like(logits)

    models, seeds, counts = [network(dropout=0.0), network(dropout=0.5), Noisy()], [], []
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    for model in models:
        student = learner(model=model)
        seeds.clear()
        for step in range(4):
            student.step(a_batch(), None, {}, step=step)
        counts.append(len(seeds))
    assert counts == [1, 4, 4]


class OnFeatures:
    """A loss between the map after the student's ReLU and what the teacher has at "x"."""

    needs_features = supports_mixed_labels = True
    student_taps, teacher_taps = ("2",), ("x",)

    def __init__(self, module: nn.Module | None) -> None:
        self.module = module

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        ours = student.features["2"] if self.module is None else self.module(student.features["2"])
        return (ours - teacher.features["x"]).square().mean()


def on_features(module: nn.Module | None = None) -> Objective:
    """That loss alone, with a projector or without."""
    return Objective(0.0, 0.0, (Term(LossTerm(name="fitnet"), OnFeatures(module)),))


def test_a_loss_on_features_alone_leaves_no_weight_without_a_gradient() -> None:
    student = learner(goal=on_features())
    student.step(a_batch(), None, {"x": torch.ones(32, 8, 8, 8)}, step=0)
    assert all(parameter.grad is not None for parameter in student.model.parameters())
    assert student.model[0].weight.grad.abs().sum() > 0
    assert not student.model[6].weight.grad.any()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_saved_state_goes_on_as_if_nothing_had_happened(optimizer: str) -> None:
    settings = Optimization(
        optimizer=optimizer, learning_rate=0.01, ema_decay=0.9, weight_decay=0.01
    )

    def fresh() -> Learner:
        return learner(goal=objective("kd"), optimization=settings)

    def steps(student: Learner, some: range) -> None:
        for step in some:
            student.step(a_batch(first=step), soft_labels(), {}, step=step)

    whole = fresh()
    steps(whole, range(6))
    first = fresh()
    steps(first, range(3))
    kept = np.arange(20, dtype=np.float32).reshape(2, 10)
    first.consider(1, 0.5, 1.25, kept)
    stored = io.BytesIO()
    torch.save(first.state(), stored)
    stored.seek(0)
    second = fresh()
    second.load_state(torch.load(stored, weights_only=True))
    steps(second, range(3, 6))
    assert same_weights(whole.model.state_dict(), second.model.state_dict())
    assert same_weights(whole.weights(), second.weights())
    assert whole.figures() == second.figures()
    assert (second.best_val, second.best_val_loss, second.best_epoch) == (0.5, 1.25, 1)
    assert second.best is not None
    assert first.best is not None
    assert same_weights(second.best, first.best)
    assert second.best_validation is not None
    assert np.array_equal(second.best_validation, kept)


def test_an_epoch_counts_its_time_from_before_a_checkpoint_too() -> None:
    first = learner()
    first.step(a_batch(), None, {}, step=0)
    first.begin_epoch()
    assert first.epoch_seconds == 0.0
    first.step(a_batch(), None, {}, step=1)
    state, spent = first.state(), first.epoch_seconds
    assert 0.0 < spent < first.seconds
    second = learner()
    second.load_state(state)
    assert second.epoch_seconds == spent
    del state["seconds_before"]  # as older checkpoints are
    second.load_state(state)
    assert second.epoch_seconds == 0.0


def test_the_state_of_another_student_is_refused() -> None:
    with pytest.raises(ValueError, match="state of a, expected b"):
        learner("b").load_state(learner("a").state())


def test_projectors_learn_and_are_saved() -> None:
    def fresh() -> tuple[Learner, nn.Conv2d]:
        projector = nn.Conv2d(8, 4, 1, bias=False)
        nn.init.constant_(projector.weight, 0.1)
        return learner(goal=on_features(projector)), projector

    student, projector = fresh()
    student.step(a_batch(), None, {"x": torch.ones(32, 4, 8, 8)}, step=0)
    assert not torch.all(projector.weight == 0.1)
    assert not any("module" in name for name in student.weights())
    other, restored = fresh()
    other.load_state(student.state())
    assert torch.equal(restored.weight, projector.weight)


def test_logits_of_other_weights_leave_the_present_ones_alone() -> None:
    student = learner()
    pixels = a_batch().images
    early, before = student.weights(), student.logits(pixels)
    for step in range(3):
        student.step(a_batch(), None, {}, step=step)
    now = student.weights()
    assert np.array_equal(student.logits(pixels, early), before)
    assert not np.array_equal(student.logits(pixels), before)
    assert same_weights(student.weights(), now)
    assert student.model.training


def test_many_images_are_evaluated_with_folded_batchnorms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student, pixels = learner(), a_batch().images
    for step in range(3):
        student.step(a_batch(), None, {}, step=step)
    early, plain = student.weights(), student.logits(pixels)
    folded: list[nn.Module] = []

    def fold(model: nn.Module) -> nn.Module:
        folded.append(fold_batchnorm(model))
        return folded[-1]

    monkeypatch.setattr(learners, "fold_batchnorm", fold)
    monkeypatch.setattr(learners, "FOLD_FROM", 32)
    assert np.allclose(student.logits(pixels), plain, atol=1e-5)
    assert np.allclose(student.logits(pixels, early), plain, atol=1e-5)
    assert len(folded) == 2
    assert same_weights(student.weights(), early)
    assert student.model.training


def test_kept_weights_do_not_move_with_later_steps() -> None:
    student = learner()
    kept = student.weights()
    copies = {name: value.clone() for name, value in kept.items()}
    student.step(a_batch(), None, {}, step=0)
    assert same_weights(kept, copies)
    assert not same_weights(kept, student.weights())


def test_the_best_epoch_has_the_higher_top1_then_the_lower_loss_then_comes_first() -> None:
    student = learner()
    chosen = []
    for epoch, (top1, loss) in enumerate([(0.5, 1.0), (0.4, 0.1), (0.5, 0.9), (0.5, 0.9)], 1):
        student.consider(epoch, top1, loss, np.full((1, 10), epoch, dtype=np.float32))
        assert student.best_validation is not None
        chosen.append((student.best_epoch, int(student.best_validation[0, 0])))
    assert chosen == [(1, 1), (1, 1), (3, 3), (3, 3)]


def test_where_the_last_epoch_is_selected_figures_do_not_matter() -> None:
    student = learner(optimization=Optimization(select="last"))
    for epoch, (top1, loss) in enumerate([(0.5, 1.0), (0.4, 2.0)], 1):
        student.consider(epoch, top1, loss, np.full((1, 10), epoch, dtype=np.float32))
    assert (student.best_epoch, student.best_val, student.best_val_loss) == (2, 0.4, 2.0)
    assert student.best_validation is not None
    assert student.best_validation[0, 0] == 2


class Hungry(nn.Module):
    """A network that takes all memory for more images than `fits`."""

    def __init__(self, fits: int) -> None:
        super().__init__()
        self.inner = network()
        self.fits = fits

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")
        return self.inner(images)


def test_out_of_memory_names_a_batch_size_that_was_tried_and_fits() -> None:
    student = learner(model=Hungry(9), goal=objective("kd"))
    with pytest.raises(MachineError) as caught:
        student.step(a_batch(32), soft_labels(), {}, step=0)
    assert "a with batch size 32 is out of memory: CUDA out of memory" in caught.value.message
    assert "more" not in caught.value.message
    assert "--batch-size 8 fits" in caught.value.hint


def test_out_of_memory_even_for_two_images_says_so() -> None:
    with pytest.raises(MachineError) as caught:
        learner(model=Hungry(1)).step(a_batch(32), None, {}, step=0)
    assert caught.value.hint.startswith("not even two images fit")


def test_other_runtime_errors_are_not_taken_for_memory() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        learner(model=Broken()).step(a_batch(), None, {}, step=0)


def test_evaluation_is_split_where_memory_is_short() -> None:
    model = Hungry(7)
    student = learner(model=model)
    pixels = a_batch(32).images
    short = student.logits(pixels)
    model.fits = 1000
    assert np.allclose(short, student.logits(pixels), atol=1e-6)
