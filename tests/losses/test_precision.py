import pytest
import torch

from compress.losses.precision import nonnegative, precise


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_formats_become_float32(dtype: torch.dtype) -> None:
    assert precise(torch.ones(2, dtype=dtype)).dtype == torch.float32


def test_float64_is_kept() -> None:
    assert precise(torch.ones(2, dtype=torch.float64)).dtype == torch.float64


def test_values_below_zero_are_lifted_and_others_stay() -> None:
    assert nonnegative(torch.tensor([-1e-9, 0.0, 2.5])).tolist() == [0.0, 0.0, 2.5]


def test_lifting_leaves_the_gradient() -> None:
    values = torch.tensor([-1e-9, 2.5], requires_grad=True)
    nonnegative(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 1.0]
