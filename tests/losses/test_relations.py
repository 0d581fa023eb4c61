import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from torch import Tensor

from compress.losses.relations import rkd

Array = NDArray[np.float64]


def points(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def smooth_l1(difference: Array) -> float:
    size = np.abs(difference)
    return float(np.where(size < 1, size**2 / 2, size - 0.5).mean())


def distances(embedding: Array) -> Array:
    pairs = pdist(embedding)
    return np.asarray(squareform(pairs) / pairs[pairs > 0].mean())


def cosines(embedding: Array) -> Array:
    count = len(embedding)
    result = np.zeros((count, count, count))
    for i in range(count):
        for j in range(count):
            for k in range(count):
                a, b = embedding[j] - embedding[i], embedding[k] - embedding[i]
                lengths = np.linalg.norm(a) * np.linalg.norm(b)
                result[i, j, k] = a @ b / lengths if lengths > 0 else 0.0
    return result


def reference(student: Array, teacher: Array, distance: float, angle: float) -> float:
    """The paper's formulas with differences of all pairs and triples, one by one."""
    return distance * smooth_l1(distances(student) - distances(teacher)) + angle * smooth_l1(
        cosines(student) - cosines(teacher)
    )


@pytest.mark.parametrize(("distance", "angle"), [(25.0, 50.0), (1.0, 0.0), (0.0, 1.0)])
def test_equals_an_independent_implementation(distance: float, angle: float) -> None:
    student, teacher = points(0, 6, 4), points(1, 6, 9)
    expected = reference(student.numpy(), teacher.numpy(), distance, angle)
    loss = rkd(student, teacher, distance=distance, angle=angle)
    assert loss.item() == pytest.approx(expected, rel=1e-10)


def test_known_distances_on_a_line() -> None:
    student = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    # distances 1, 2, 3 over their mean 2, against 1, 1, 2 over their mean 4/3; each pair twice
    differences = np.array([1 / 2 - 3 / 4, 2 / 2 - 3 / 4, 3 / 2 - 6 / 4])
    expected = 2 * (differences**2 / 2).sum() / 9
    loss = rkd(student, teacher, distance=1.0, angle=0.0)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_moving_turning_and_scaling_the_students_space_changes_nothing() -> None:
    student, teacher = points(2, 6, 4), points(3, 6, 4)
    turn, _ = torch.linalg.qr(points(4, 4, 4))
    torch.testing.assert_close(
        rkd(3 * student @ turn + 100, teacher, distance=25.0, angle=50.0),
        rkd(student, teacher, distance=25.0, angle=50.0),
    )


def test_maps_are_averaged_over_their_pixels() -> None:
    student, teacher = points(5, 5, 3, 4, 4), points(6, 5, 7, 2, 2)
    torch.testing.assert_close(
        rkd(student, teacher, distance=25.0, angle=50.0),
        rkd(student.mean(dim=(2, 3)), teacher.mean(dim=(2, 3)), distance=25.0, angle=50.0),
    )


def test_tiling_the_batch_changes_nothing() -> None:
    student, teacher = points(7, 5, 4).float(), points(8, 5, 4).float()
    torch.testing.assert_close(
        rkd(student.repeat(3, 1), teacher.repeat(3, 1), distance=25.0, angle=50.0),
        rkd(student, teacher, distance=25.0, angle=50.0),
    )


def test_equal_geometry_costs_nothing() -> None:
    same = points(9, 6, 4)
    assert rkd(same, same.clone(), distance=25.0, angle=50.0).item() == 0.0


def test_a_collapsed_student_has_a_finite_gradient() -> None:
    student = torch.ones(5, 4, requires_grad=True)
    loss = rkd(student, points(10, 5, 4).float(), distance=25.0, angle=50.0)
    loss.backward()
    assert loss.item() > 0
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_two_equal_images_have_a_finite_gradient() -> None:
    student, teacher = points(11, 4, 3), points(12, 4, 3)
    student = student[[0, 1, 2, 2]].float().requires_grad_()
    rkd(student, teacher.float(), distance=25.0, angle=50.0).backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().max() < 1e3


def test_the_gradient_is_the_slope() -> None:
    teacher = points(13, 4, 3)
    assert torch.autograd.gradcheck(
        lambda x: rkd(x, teacher, distance=25.0, angle=50.0), points(14, 4, 3).requires_grad_()
    )


def test_large_means_do_not_drown_small_differences_in_float32() -> None:
    student, teacher = points(15, 6, 4).float() + 1000, points(16, 6, 4).float()
    expected = reference(student.double().numpy(), teacher.double().numpy(), 25.0, 50.0)
    loss = rkd(student, teacher, distance=25.0, angle=50.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_batches_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(2, 4\)"):
        rkd(points(0, 3, 4), points(0, 2, 4), distance=1.0, angle=1.0)


def test_what_is_no_embedding_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4, 5\)"):
        rkd(points(0, 3, 4, 5), points(0, 3, 4), distance=1.0, angle=1.0)
