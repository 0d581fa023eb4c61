from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import pearsonr
from torch import Tensor

from compress.losses.logits import dist, dkd, hard, kd, logit_std
from compress.losses.supervised import cross_entropy

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

Array = NDArray[np.float64]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "kd": lambda s, t, y: kd(s, t, temperature=4.0),
    "logit_std": lambda s, t, y: logit_std(s, t, temperature=2.0),
    "dkd": lambda s, t, y: dkd(s, t, y, temperature=4.0, alpha=1.0, beta=8.0),
    "dist": lambda s, t, y: dist(s, t, beta=1.0, gamma=1.0, temperature=1.0),
    "hard": lambda s, t, y: hard(s, t),
}
DISTANCES = [name for name in LOSSES if name != "hard"]


def random_batch(seed: int, classes: int = 7, batch: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, batch, classes, generator=generator, dtype=torch.float64) * 3
    return student, teacher, torch.randint(classes, (batch,), generator=generator)


# The published definitions, written again in NumPy and SciPy, sample by sample.


def kd_reference(student: Array, teacher: Array, temperature: float) -> float:
    p, q = softmax(teacher / temperature, axis=1), softmax(student / temperature, axis=1)
    return (
        float(np.mean([rel_entr(a, b).sum() for a, b in zip(p, q, strict=True)])) * temperature**2
    )


def dkd_reference(
    student: Array, teacher: Array, labels: Array, temperature: float, alpha: float, beta: float
) -> float:
    total = 0.0
    for z_s, z_t, y in zip(student / temperature, teacher / temperature, labels, strict=True):
        p, q = softmax(z_t), softmax(z_s)
        target = rel_entr([p[y], 1 - p[y]], [q[y], 1 - q[y]]).sum()
        p_others, q_others = np.delete(p, y) / (1 - p[y]), np.delete(q, y) / (1 - q[y])
        total += alpha * target + beta * rel_entr(p_others, q_others).sum()
    return total / len(student) * temperature**2


def dist_reference(
    student: Array, teacher: Array, beta: float, gamma: float, temperature: float
) -> float:
    p, q = softmax(teacher / temperature, axis=1), softmax(student / temperature, axis=1)
    rows = np.mean([pearsonr(a, b).statistic for a, b in zip(p, q, strict=True)])
    columns = np.mean([pearsonr(a, b).statistic for a, b in zip(p.T, q.T, strict=True)])
    return float(beta * (1 - rows) + gamma * (1 - columns))


def logit_std_reference(student: Array, teacher: Array, temperature: float) -> float:
    def standardise(z: Array) -> Array:
        return (z - z.mean(axis=1, keepdims=True)) / (z.std(axis=1, ddof=1, keepdims=True) + 1e-7)

    return kd_reference(standardise(student), standardise(teacher), temperature)


# Exact values.


def test_kd_known_value(student: Tensor, teacher: Tensor) -> None:
    loss = kd(student, teacher, temperature=2.0)
    assert loss.item() == pytest.approx(0.372473388235, abs=1e-11)
    assert loss.item() == pytest.approx(kd_reference(student.numpy(), teacher.numpy(), 2.0))


def test_kd_known_divergence_of_each_image(student: Tensor, teacher: Tensor) -> None:
    each = [
        kd(student[i : i + 1], teacher[i : i + 1], temperature=2.0).item() / 4 for i in range(3)
    ]
    assert each == pytest.approx([0.072460327927, 0.010067756775, 0.196826956474], abs=1e-11)


def test_kd_known_gradient(student: Tensor, teacher: Tensor) -> None:
    student.requires_grad_()
    kd(student, teacher, temperature=2.0).backward()
    expected = [[-1 / 15, -1 / 30, 1 / 10], [1 / 30, 0, -1 / 30], [1 / 15, 2 / 15, -1 / 5]]
    torch.testing.assert_close(student.grad, torch.tensor(expected, dtype=torch.float64))


def test_kd_at_high_temperature_is_the_squared_distance_of_centred_logits() -> None:
    student, teacher, _ = random_batch(0)
    difference = (student - teacher) - (student - teacher).mean(dim=1, keepdim=True)
    expected = (difference.square().sum(dim=1) / (2 * 7)).mean()
    assert kd(student, teacher, temperature=1e4).item() == pytest.approx(expected.item(), rel=1e-3)


def test_kd_has_the_gradient_of_soft_cross_entropy() -> None:
    student, teacher, _ = random_batch(1)
    student.requires_grad_()
    (ours,) = torch.autograd.grad(kd(student, teacher, temperature=1.0), student)
    (theirs,) = torch.autograd.grad(cross_entropy(student, teacher.softmax(dim=1)), student)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("alpha", "beta", "expected"),
    [
        (1.0, 0.0, [0.020135513551, 0.0, 0.192744757022]),
        (0.0, 1.0, [0.130812035941, 0.020135513551, 0.020410997260]),
    ],
    ids=["target", "others"],
)
def test_dkd_known_parts_of_each_image(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    alpha: float,
    beta: float,
    expected: list[float],
) -> None:
    each = [
        dkd(
            student[i : i + 1],
            teacher[i : i + 1],
            labels[i : i + 1],
            temperature=2.0,
            alpha=alpha,
            beta=beta,
        ).item()
        / 4
        for i in range(3)
    ]
    assert each == pytest.approx(expected, abs=1e-11)


def test_dkd_known_value(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    loss = dkd(student, teacher, labels, temperature=2.0, alpha=1.0, beta=8.0)
    assert loss.item() == pytest.approx(2.111664859451, abs=1e-11)


def test_dkd_equals_an_independent_implementation() -> None:
    student, teacher, labels = random_batch(2)
    expected = dkd_reference(
        student.numpy(), teacher.numpy(), labels.numpy(), temperature=4.0, alpha=0.7, beta=5.0
    )
    loss = dkd(student, teacher, labels, temperature=4.0, alpha=0.7, beta=5.0)
    assert loss.item() == pytest.approx(expected, rel=1e-10)


def test_dkd_parts_make_up_the_divergence(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    for i in range(3):
        row = slice(i, i + 1)
        pair = student[row], teacher[row], labels[row]
        target = dkd(*pair, temperature=2.0, alpha=1.0, beta=0.0)
        others = dkd(*pair, temperature=2.0, alpha=0.0, beta=1.0)
        p_target = (teacher[i] / 2).softmax(dim=0)[i]
        whole = kd(student[row], teacher[row], temperature=2.0)
        torch.testing.assert_close(target + (1 - p_target) * others, whole)


def test_dkd_of_two_classes_has_no_part_of_the_others() -> None:
    student, teacher, _ = random_batch(3, classes=2)
    labels = torch.tensor([0, 1, 1, 0, 1])
    assert dkd(student, teacher, labels, temperature=4.0, alpha=0.0, beta=8.0).item() == 0.0


def test_dkd_refuses_mixed_labels() -> None:
    student, teacher, _ = random_batch(4)
    with pytest.raises(ValueError, match="integer label"):
        dkd(student, teacher, teacher.softmax(dim=1), temperature=4.0, alpha=1.0, beta=8.0)


def test_dist_known_value(student: Tensor, teacher: Tensor) -> None:
    loss = dist(student, teacher, beta=1.0, gamma=1.0, temperature=2.0)
    assert loss.item() == pytest.approx(0.158797677831, abs=1e-11)


def test_dist_equals_an_independent_implementation() -> None:
    student, teacher, _ = random_batch(5)
    expected = dist_reference(
        student.numpy(), teacher.numpy(), beta=2.0, gamma=0.5, temperature=3.0
    )
    loss = dist(student, teacher, beta=2.0, gamma=0.5, temperature=3.0)
    assert loss.item() == pytest.approx(expected, rel=1e-10)


def test_dist_of_vectors_without_variance_is_finite() -> None:
    flat = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    assert dist(flat, flat.detach(), beta=1.0, gamma=1.0, temperature=1.0).item() == 0.0
    teacher = torch.tensor([[2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 2.0, 0]], dtype=torch.float64)
    loss = dist(flat, teacher, beta=1.0, gamma=0.0, temperature=1.0)
    assert loss.item() == pytest.approx(0.5)
    loss.backward()
    assert flat.grad is not None
    assert not flat.grad.any()


@pytest.mark.parametrize("constant", [0.0, 1.7, -30.1])
def test_dist_takes_the_rounding_of_a_mean_for_no_variance(constant: float) -> None:
    """128 images of 100 classes in float32: neither 1e-9 nor 1e-5 of rounding is a direction."""
    flat = torch.full((128, 100), constant, requires_grad=True)
    teacher = torch.from_numpy(np.random.default_rng(0).normal(size=(128, 100))).float()
    loss = dist(flat, teacher, beta=1.0, gamma=1.0, temperature=1.0)
    assert loss.item() == pytest.approx(1.0)
    loss.backward()
    assert flat.grad is not None
    assert flat.grad.abs().max() < 1e-3


def test_logit_std_known_value_has_classes_minus_one_in_its_deviation() -> None:
    teacher = torch.tensor([[1, 2, 3, 6], [0, 0, 0, 4]], dtype=torch.float64)
    student = torch.tensor([[1, 1, 2, 4], [1, 0, 2, 3]], dtype=torch.float64)
    loss = logit_std(student, teacher, temperature=2.0).item()
    assert loss == pytest.approx(0.074913383694, abs=1e-11)
    reference = logit_std_reference(student.numpy(), teacher.numpy(), 2.0)
    assert loss == pytest.approx(reference, rel=1e-10)


def test_logit_std_ignores_the_scale_of_the_students_logits() -> None:
    student, teacher, _ = random_batch(6)
    torch.testing.assert_close(
        logit_std(student, teacher, temperature=2.0),
        logit_std(student * 7, teacher, temperature=2.0),
        rtol=1e-6,
        atol=0,
    )


def test_hard_is_the_cross_entropy_with_the_teachers_decisions() -> None:
    student, teacher, _ = random_batch(7)
    rows = log_softmax(student.numpy(), axis=1)
    expected = -np.mean([row[best] for row, best in zip(rows, teacher.argmax(1), strict=True)])
    assert hard(student, teacher).item() == pytest.approx(expected, rel=1e-12)


# What must hold for all of them.


@pytest.mark.parametrize("name", LOSSES)
def test_tiling_the_batch_changes_nothing(name: str) -> None:
    student, teacher, labels = random_batch(8)
    tiled = LOSSES[name](student.repeat(3, 1), teacher.repeat(3, 1), labels.repeat(3))
    torch.testing.assert_close(tiled, LOSSES[name](student, teacher, labels))


@pytest.mark.parametrize("name", LOSSES)
def test_a_constant_added_to_the_logits_changes_nothing(name: str) -> None:
    student, teacher, labels = random_batch(9)
    shift = torch.arange(5, dtype=torch.float64)[:, None] * 10
    torch.testing.assert_close(
        LOSSES[name](student + shift, teacher - shift, labels),
        LOSSES[name](student, teacher, labels),
        rtol=1e-6,
        atol=1e-12,
    )


logits = arrays(np.float32, (4, 6), elements=st.floats(-120, 120, width=32))


@pytest.mark.parametrize("name", DISTANCES)
@given(values=logits, label=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_equal_logits_cost_nothing(name: str, values: NDArray[np.float32], label: int) -> None:
    same = torch.from_numpy(values)
    assert LOSSES[name](same, same.clone(), torch.full((4,), label)).item() == 0.0


@pytest.mark.parametrize("name", LOSSES)
@given(ours=logits, theirs=logits, label=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_no_loss_is_negative_or_not_finite_in_float32(
    name: str, ours: NDArray[np.float32], theirs: NDArray[np.float32], label: int
) -> None:
    student = torch.from_numpy(ours).requires_grad_()
    loss = LOSSES[name](student, torch.from_numpy(theirs), torch.full((4,), label))
    loss.backward()
    assert loss.item() >= 0.0
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_opposite_certainties_are_finite(name: str) -> None:
    student = torch.full((2, 5), -120.0)
    teacher = student.clone()
    student[:, 0], teacher[:, 1] = 120.0, 120.0
    student.requires_grad_()
    loss = LOSSES[name](student, teacher, torch.tensor([1, 0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert loss.item() > 0
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_formats_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    student, teacher, labels = random_batch(10)
    short = student.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = LOSSES[name](short, teacher.half(), labels)
    assert loss.dtype == torch.float32
    exact = LOSSES[name](short.double(), teacher.half().double(), labels)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_the_slope(name: str) -> None:
    student, teacher, labels = random_batch(11, classes=4, batch=3)
    assert torch.autograd.gradcheck(
        lambda z: LOSSES[name](z, teacher, labels), student.requires_grad_()
    )


@pytest.mark.parametrize("name", LOSSES)
def test_another_shape_is_refused_with_both_shapes(name: str) -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 4\)"):
        LOSSES[name](torch.zeros(2, 3), torch.zeros(2, 4), torch.tensor([0, 1]))
