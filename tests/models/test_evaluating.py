import pytest
import torch
from torch import nn

from compress.models.evaluating import evaluating


def test_inside_nothing_trains_and_outside_every_part_is_as_before() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[1].eval()
    with evaluating(model):
        assert [part.training for part in model] == [False, False]
        assert not torch.is_grad_enabled()
    assert model.training
    assert [part.training for part in model] == [True, False]
    assert torch.is_grad_enabled()


def test_an_error_inside_leaves_the_model_as_before() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert model[0].training
