from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.losses.features import Projector, attention, fitnet

Loss = Callable[[Tensor, Tensor], Tensor]


def maps(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_fitnet_is_the_mean_squared_difference() -> None:
    student, teacher = maps(0, 2, 3, 4, 4), maps(1, 2, 3, 4, 4)
    expected = np.mean((student.numpy() - teacher.numpy()) ** 2)
    assert fitnet(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_attention_equals_an_independent_implementation() -> None:
    student, teacher = maps(2, 2, 3, 4, 4), maps(3, 2, 5, 4, 4)

    def attend(features: Tensor) -> NDArray[np.float64]:
        rows = (features.numpy() ** 2).mean(axis=1).reshape(2, 16)
        return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))

    expected = np.mean((attend(student) - attend(teacher)) ** 2)
    assert attention(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_attention_of_disjoint_places_is_two_over_the_pixels() -> None:
    student, teacher = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    student[0, 0, 0, 0], teacher[0, 0, 1, 1] = 3.0, 5.0
    assert attention(student, teacher).item() == pytest.approx(2 / 4)


def test_attention_ignores_the_scale_of_the_activations() -> None:
    student, teacher = maps(4, 2, 3, 4, 4), maps(5, 2, 3, 4, 4)
    torch.testing.assert_close(attention(student * 9, teacher), attention(student, teacher))


def test_attention_of_a_dead_map_has_a_finite_gradient() -> None:
    student = torch.zeros(2, 3, 4, 4, requires_grad=True)
    attention(student, maps(6, 2, 3, 4, 4)).backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("loss", [fitnet, attention])
def test_equal_maps_cost_nothing(loss: Loss) -> None:
    same = maps(7, 2, 3, 4, 4)
    assert loss(same, same.clone()).item() == 0.0


@pytest.mark.parametrize("loss", [fitnet, attention])
@pytest.mark.parametrize("flip", [False, True])
def test_the_larger_map_is_averaged_down(loss: Loss, flip: bool) -> None:
    large, small = maps(8, 2, 3, 6, 6), maps(9, 2, 3, 3, 3)
    means = large.reshape(2, 3, 3, 2, 3, 2).mean(dim=(3, 5))
    pair, averaged = (large, small), (means, small)
    if flip:
        pair, averaged = pair[::-1], averaged[::-1]
    torch.testing.assert_close(loss(*pair), loss(*averaged))


def test_sizes_that_do_not_divide_are_averaged_over_overlapping_windows() -> None:
    large = torch.arange(3, dtype=torch.float64).expand(1, 1, 3, 3)
    small = torch.tensor([0.5, 1.5], dtype=torch.float64).expand(1, 1, 2, 2)
    assert fitnet(large, small).item() == 0.0


@pytest.mark.parametrize("loss", [fitnet, attention])
def test_tiling_the_batch_changes_nothing(loss: Loss) -> None:
    student, teacher = maps(10, 2, 3, 4, 4), maps(11, 2, 3, 4, 4)
    tiled = loss(student.repeat(3, 1, 1, 1), teacher.repeat(3, 1, 1, 1))
    torch.testing.assert_close(tiled, loss(student, teacher))


@pytest.mark.parametrize("loss", [fitnet, attention])
def test_short_formats_are_computed_in_float32(loss: Loss) -> None:
    student, teacher = maps(12, 2, 3, 4, 4).bfloat16(), maps(13, 2, 3, 4, 4).half()
    result = loss(student, teacher)
    assert result.dtype == torch.float32
    assert result.item() == pytest.approx(loss(student.double(), teacher.double()).item(), rel=1e-5)


def test_fitnet_refuses_unequal_channels() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\).*\(2, 5, 4, 4\)"):
        fitnet(maps(0, 2, 3, 4, 4), maps(0, 2, 5, 4, 4))


@pytest.mark.parametrize("loss", [fitnet, attention])
def test_what_is_no_map_is_refused(loss: Loss) -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        loss(maps(0, 2, 3), maps(0, 2, 3))


def test_a_projector_maps_channels_and_keeps_the_size() -> None:
    assert Projector(3, 8)(torch.zeros(2, 3, 5, 5)).shape == (2, 8, 5, 5)


def test_a_projector_keeps_the_spread_of_its_input() -> None:
    torch.manual_seed(0)
    projected = Projector(64, 128).conv(torch.randn(16, 64, 8, 8))
    assert projected.std().item() == pytest.approx(1.0, rel=0.1)
