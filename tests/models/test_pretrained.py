"""ImageNet weights of torchvision, from a file made here where torch keeps its downloads."""

import io
from email.message import Message
from pathlib import Path
from urllib.error import URLError
from urllib.response import addinfourl

import pytest
import torch
from torch import Tensor
from torchvision.models import get_model, get_model_weights, mobilenet_v2, resnet18

from compress.errors import ConfigError, InputError, MachineError
from compress.models import registry
from tests.published import publish


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of downloads, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_arguments: object, **_options: object) -> None:
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def file_of(name: str, hub: Path) -> Path:
    return hub / str(get_model_weights(name)["IMAGENET1K_V1"].url).rpartition("/")[2]


@pytest.fixture
def published(hub: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """ResNet-18 weights for 1000 classes, as if downloaded before."""
    torch.manual_seed(7)
    state: dict[str, Tensor] = resnet18().state_dict()
    publish("resnet18", monkeypatch, state=state)
    return state


def build(**options: str) -> dict[str, Tensor]:
    model = registry.build(
        "resnet18", classes=10, image_size=32, options={"weights": "imagenet", **options}
    )
    return model.state_dict()


def test_everything_but_the_classifier_is_taken(published: dict[str, Tensor]) -> None:
    state = build(stem="imagenet")
    taken = [key for key in published if not key.startswith("fc.")]
    assert all(torch.equal(state[key], published[key]) for key in taken)
    assert state["fc.weight"].shape == (10, 512)


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_every_network_with_published_weights_is_fitted_to_other_classes(
    hub: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    state = get_model(name).state_dict()
    publish(name, monkeypatch, state=state)
    options = {"weights": "imagenet", "stem": "imagenet"}
    model = registry.build(name, classes=37, image_size=32, options=options)
    fitted = model.state_dict()
    assert torch.equal(fitted["layer4.0.conv1.weight"], state["layer4.0.conv1.weight"])
    assert fitted["fc.weight"].shape == (37, state["fc.weight"].shape[1])


def test_another_stem_starts_fresh(published: dict[str, Tensor]) -> None:
    state = build(stem="cifar")
    assert state["conv1.weight"].shape == (64, 3, 3, 3)
    assert torch.equal(state["layer4.1.conv2.weight"], published["layer4.1.conv2.weight"])
    assert torch.equal(state["bn1.weight"], published["bn1.weight"])


def test_mobilenets_strides_do_not_matter_to_its_weights(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(8)
    state = mobilenet_v2().state_dict()
    publish("mobilenet_v2", monkeypatch, state=state)
    model = registry.build(
        "mobilenet_v2", classes=10, image_size=32, options={"weights": "imagenet"}
    )
    assert torch.equal(model.state_dict()["features.18.0.weight"], state["features.18.0.weight"])


def test_weights_of_another_width_are_refused(hub: Path) -> None:
    with pytest.raises(ConfigError, match=r"weights=imagenet does not go with width=0\.5"):
        registry.build(
            "mobilenet_v2",
            classes=10,
            image_size=32,
            options={"weights": "imagenet", "width": 0.5},
        )


def test_without_a_network_the_machine_is_named(hub: Path) -> None:
    with pytest.raises(MachineError, match=r"cannot download .*resnet18-f37072fd.pth") as caught:
        build()
    assert "name resolution" in caught.value.message
    assert str(hub) in caught.value.hint
    assert not list(hub.iterdir())


def test_a_file_that_was_not_published_is_named_and_not_read(hub: Path) -> None:
    file = file_of("resnet18", hub)
    torch.save(resnet18().state_dict(), file)
    with pytest.raises(InputError, match="is not what torchvision published") as caught:
        build()
    assert str(file) in caught.value.message
    assert "expected f37072fd" in caught.value.message
    assert "delete it" in caught.value.hint


def test_a_file_cut_short_is_an_input_error(published: dict[str, Tensor], hub: Path) -> None:
    (file,) = hub.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match="is not what torchvision published"):
        build()


def wrong_file(*_arguments: object, **_options: object) -> addinfourl:
    return addinfourl(io.BytesIO(b"other"), Message(), "https://example.org/weights.pth")


def test_a_download_with_another_hash_is_refused_and_not_kept(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.hub.urlopen", wrong_file)
    with pytest.raises(InputError, match="not what was published"):
        build()
    assert not list(hub.iterdir())


def test_a_folder_that_cannot_be_made_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot write"):
        build()
