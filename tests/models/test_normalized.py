import pytest
import torch
from torch import Tensor, nn

from compress.models import registry
from compress.models.normalized import Normalized

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


class Echo(nn.Module):
    """Returns what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def expected(pixels: Tensor) -> Tensor:
    mean = torch.tensor(MEAN, dtype=torch.float64).reshape(3, 1, 1)
    std = torch.tensor(STD, dtype=torch.float64).reshape(3, 1, 1)
    return ((pixels.double() / 255 - mean) / std).float()


PIXELS = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 3, 16, 16)


def test_bytes_and_fractions_give_the_same() -> None:
    model = Normalized(Echo(), mean=MEAN, std=STD)
    torch.testing.assert_close(model(PIXELS), expected(PIXELS), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(model(PIXELS / 255), expected(PIXELS), rtol=1e-6, atol=1e-6)


def test_statistics_stay_exact_when_the_weights_become_short() -> None:
    model = Normalized(nn.Conv2d(3, 2, 1), mean=MEAN, std=STD).to(torch.bfloat16)
    assert model.scale.dtype == torch.float32
    model.model = Echo()
    torch.testing.assert_close(model(PIXELS), expected(PIXELS), rtol=1e-6, atol=1e-6)


def test_a_short_model_gets_short_images() -> None:
    model = Normalized(nn.Conv2d(3, 2, 1), mean=MEAN, std=STD).to(torch.bfloat16)
    assert model(PIXELS).dtype == torch.bfloat16


def test_the_state_dict_holds_the_network_alone() -> None:
    model = Normalized(nn.Linear(2, 2), mean=MEAN, std=STD)
    assert set(model.state_dict()) == {"model.weight", "model.bias"}


def test_the_memory_format_is_kept() -> None:
    images = PIXELS.repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    result = Normalized(Echo(), mean=MEAN, std=STD)(images)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_logits_are_the_models() -> None:
    network = registry.build("small_cnn", classes=4, image_size=16, options={}).eval()
    model = Normalized(network, mean=MEAN, std=STD).eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(PIXELS), network(expected(PIXELS)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("std", [(1.0, 1.0), (1.0, 0.0, 1.0)])
def test_what_is_no_normalisation_is_refused(std: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="one positive pair per channel"):
        Normalized(Echo(), mean=MEAN, std=std)
