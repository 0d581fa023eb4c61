"""The exact distributions whose losses are known."""

import pytest
import torch
from torch import Tensor

TEACHER = [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]
STUDENT = [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.2, 0.3, 0.5]]


@pytest.fixture
def teacher() -> Tensor:
    """Logits whose softmax at temperature 2 is TEACHER."""
    return 2 * torch.tensor(TEACHER, dtype=torch.float64).log()


@pytest.fixture
def student() -> Tensor:
    """Logits whose softmax at temperature 2 is STUDENT."""
    return 2 * torch.tensor(STUDENT, dtype=torch.float64).log()


@pytest.fixture
def labels() -> Tensor:
    return torch.tensor([0, 1, 2])
