import math

import pytest
import torch
from torch import Tensor

from compress.losses.supervised import cross_entropy


def test_known_value(student: Tensor, labels: Tensor) -> None:
    assert cross_entropy(student, labels).item() == pytest.approx(0.409880183692, abs=1e-11)


def test_float_targets_equal_the_weighted_sum_over_labels() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5]], dtype=torch.float64)
    mixed = torch.tensor([[0.7, 0.0, 0.3]])
    parts = [cross_entropy(logits, torch.tensor([label])).item() for label in (0, 2)]
    expected = 0.7 * parts[0] + 0.3 * parts[1]
    assert cross_entropy(logits, mixed).item() == pytest.approx(expected, rel=1e-6)


def test_smoothing_moves_that_share_of_the_target_to_all_classes() -> None:
    probabilities = [0.5, 0.25, 0.25]
    logits = torch.tensor([probabilities], dtype=torch.float64).log()
    smoothed = [0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3]
    expected = -sum(t * math.log(p) for t, p in zip(smoothed, probabilities, strict=True))
    loss = cross_entropy(logits, torch.tensor([0]), label_smoothing=0.1)
    assert loss.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_unlabelled_row_counts_for_nothing_and_half_a_label_for_half(smoothing: float) -> None:
    logits = torch.randn(3, 4, generator=torch.manual_seed(0), dtype=torch.float64)
    logits.requires_grad_()
    label = cross_entropy(logits[:1], torch.tensor([2]), label_smoothing=smoothing)
    rows = torch.zeros(3, 4)
    rows[0, 2], rows[1, 2] = 1.0, 0.5
    half = cross_entropy(logits[1:2], torch.tensor([2]), label_smoothing=smoothing)
    found = cross_entropy(logits, rows, label_smoothing=smoothing)
    assert found.item() == pytest.approx((label + half / 2).item() / 3, rel=1e-6)
    found.backward()
    assert logits.grad is not None
    assert logits.grad[2].abs().max() == 0


def test_half_precision_logits_give_a_float32_loss() -> None:
    loss = cross_entropy(torch.zeros(2, 4, dtype=torch.bfloat16), torch.tensor([0, 3]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(4), rel=1e-6)


@pytest.mark.parametrize("targets", [torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64)])
def test_targets_of_another_shape_are_refused(targets: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\(2, 4\)"):
        cross_entropy(torch.zeros(2, 4), targets)
