import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from compress.config.specs import Scalar
from compress.errors import ConfigError, InputError
from compress.files import sha256_file
from compress.models import registry, weights
from compress.models.weights import WeightsHeader

CLASSES = ("cat", "dog", "owl")
FOREIGN: dict[str, Scalar] = {"model": "resnet20", "normalization": "cifar10"}


def header(name: str = "small_cnn", image_size: int = 16, **options: Scalar) -> WeightsHeader:
    return WeightsHeader(
        model=name,
        options=registry.resolve_options(name, image_size=image_size, options=options),
        class_names=CLASSES,
        image_size=image_size,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.2, 0.1),
    )


def model_of(name: str = "small_cnn", image_size: int = 16, **options: Scalar) -> nn.Module:
    torch.manual_seed(0)
    return registry.build(name, classes=3, image_size=image_size, options=options).eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "student.safetensors"
    weights.save(path, model_of(width=0.5).state_dict(), header(width=0.5))
    return path


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "teacher.pt"
    torch.save(model_of("resnet20").state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("small_cnn", {"width": 0.5}),
        ("mobilenet_v2", {"stem_stride": 2, "width": 0.35}),
        ("resnet18", {"stem": "imagenet"}),
        ("resnet20", {}),
        ("two_block_cnn", {}),
    ],
)
def test_what_is_saved_comes_back(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    model, described = model_of(name, **options), header(name, **options)
    path = tmp_path / "a.safetensors"
    weights.save(path, model.state_dict(), described)
    read = weights.load(path, {})
    assert read.sha256 == sha256_file(path)
    assert weights.complete(read, CLASSES) == described
    images = torch.randn(2, 3, 16, 16)
    again = weights.instantiate(read, CLASSES)
    assert not again.training
    with torch.inference_mode():
        assert torch.equal(again(images), model(images))


def test_equal_weights_are_equal_files(tmp_path: Path, saved: Path) -> None:
    other = tmp_path / "elsewhere" / "other-name.safetensors"
    model = model_of(width=0.5).to(memory_format=torch.channels_last)
    weights.save(other, dict(reversed(model.state_dict().items())), header(width=0.5))
    assert other.read_bytes() == saved.read_bytes()


def test_a_file_says_nothing_of_where_it_was_made(saved: Path) -> None:
    with safetensors.safe_open(saved, framework="pt") as stream:
        metadata = stream.metadata()
    content = json.loads(metadata["compress"])
    assert set(metadata) == {"compress"}
    assert set(content) == {"header", "tensors_sha256"}
    assert set(content["header"]) == {
        "format", "model", "options", "class_names", "image_size", "mean", "std",
    }  # fmt: skip


def test_where_weights_came_from_is_no_option_of_the_file(tmp_path: Path) -> None:
    described = header("resnet18").model_copy(
        update={"options": {"stem": "cifar", "weights": "imagenet"}}
    )
    path = tmp_path / "a.safetensors"
    weights.save(path, model_of("resnet18").state_dict(), described)
    read = weights.load(path, {})
    assert read.header.options == {"stem": "cifar"}
    assert weights.complete(read, CLASSES).options == {"stem": "cifar", "weights": "none"}


def test_parts_of_one_storage_are_saved(tmp_path: Path) -> None:
    model = model_of()
    flat = torch.cat([value.float().flatten() for value in model.state_dict().values()])
    parts = flat.split([value.numel() for value in model.state_dict().values()])
    state = {
        key: part.reshape(value.shape)
        for (key, value), part in zip(model.state_dict().items(), parts, strict=True)
    }
    weights.save(tmp_path / "a.safetensors", state, header())
    assert weights.load(tmp_path / "a.safetensors", {}).state.keys() == state.keys()


def test_a_header_without_classes_cannot_be_saved(tmp_path: Path) -> None:
    open_header = header().model_copy(update={"class_names": None})
    with pytest.raises(ValueError, match="lacks class names"):
        weights.save(tmp_path / "a.safetensors", model_of().state_dict(), open_header)


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        weights.save(tmp_path / "file" / "a.safetensors", model_of().state_dict(), header())


def test_building_does_not_move_the_callers_random_numbers(saved: Path) -> None:
    read = weights.load(saved, {})
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    weights.instantiate(read, CLASSES)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved: Path, share: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        weights.load(saved, {})


def test_one_altered_bit_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-1000] ^= 1
    saved.write_bytes(content)
    with pytest.raises(InputError, match="was altered"):
        weights.load(saved, {})


@pytest.mark.parametrize(
    "text", ["not json", "[]", "{}", '{"header": {"model": "x"}, "tensors_sha256": ""}']
)
def test_an_unreadable_header_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, metadata={"compress": text})
    with pytest.raises(InputError, match="header that this version cannot read"):
        weights.load(path, {})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        weights.load(tmp_path / "none.safetensors", {})


def test_our_own_file_needs_no_description(saved: Path) -> None:
    with pytest.raises(ConfigError, match="leave out model"):
        weights.load(saved, {"model": "small_cnn"})


def test_other_classes_are_refused(saved: Path) -> None:
    read = weights.load(saved, {})
    with pytest.raises(InputError, match=r"3 classes \(cat, dog, owl\), the data has 4 classes"):
        weights.instantiate(read, ("ant", "bee", "cow", "doe"))


def test_classes_in_another_order_are_refused(saved: Path) -> None:
    with pytest.raises(InputError, match="knows 3 classes"):
        weights.instantiate(weights.load(saved, {}), ("dog", "cat", "owl"))


def test_another_image_size_is_refused(saved: Path) -> None:
    with pytest.raises(InputError, match="takes images of 16 pixels, the data has 32"):
        weights.instantiate(weights.load(saved, {}), CLASSES, image_size=32)


def test_a_foreign_file_is_described_by_options(foreign: Path) -> None:
    read = weights.load(foreign, FOREIGN)
    model = weights.instantiate(read, CLASSES, image_size=16)
    expected = model_of("resnet20")
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(model(images), expected(images))
    described = weights.complete(read, CLASSES, image_size=16)
    assert described.class_names == CLASSES
    assert described.image_size == 16
    assert described.mean == (0.4914, 0.4822, 0.4465)


def test_a_foreign_file_can_become_one_of_ours(tmp_path: Path, foreign: Path) -> None:
    read = weights.load(foreign, FOREIGN)
    described = weights.complete(read, CLASSES, image_size=16)
    weights.save(tmp_path / "own.safetensors", read.state, described)
    assert weights.load(tmp_path / "own.safetensors", {}).header == described


def test_model_options_of_a_foreign_file_are_used(tmp_path: Path) -> None:
    torch.save(model_of("resnet18", stem="imagenet").state_dict(), tmp_path / "a.pth")
    options: dict[str, Scalar] = {"model": "resnet18", "normalization": "none"}
    read = weights.load(tmp_path / "a.pth", {**options, "stem": "imagenet"})
    weights.instantiate(read, CLASSES, image_size=16)
    wrong = weights.load(tmp_path / "a.pth", options)
    with pytest.raises(InputError, match=r"conv1.weight is \[64, 3, 7, 7\] in the file"):
        weights.instantiate(wrong, CLASSES, image_size=16)


def test_statistics_counters_may_be_missing(tmp_path: Path) -> None:
    model = model_of("resnet20")
    state = {k: v for k, v in model.state_dict().items() if "num_batches_tracked" not in k}
    torch.save(state, tmp_path / "a.pt")
    read = weights.load(tmp_path / "a.pt", FOREIGN)
    again = weights.instantiate(read, CLASSES, image_size=16)
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(again(images), model(images))


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    torch.save(model_of("resnet20").half().state_dict(), tmp_path / "a.pt")
    read = weights.load(tmp_path / "a.pt", FOREIGN)
    model = weights.instantiate(read, CLASSES, image_size=16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalization": "cifar10"}, "does not say which model"),
        ({"model": "resnet20"}, "how the images of a foreign model are normalised"),
        ({"model": "resnet21", "normalization": "none"}, "unknown model 'resnet21'"),
        ({**FOREIGN, "width": 2}, "no option 'width'"),
        ({**FOREIGN, "image_size": "big"}, "image_size=big is not a whole number"),
        ({**FOREIGN, "classes": 0}, "classes=0 is not a whole number"),
    ],
)
def test_a_wrong_description_is_refused(
    foreign: Path, options: dict[str, Scalar], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        weights.load(foreign, options)


def test_an_image_size_that_nobody_says_is_asked_for(foreign: Path) -> None:
    with pytest.raises(ConfigError, match="does not say its image size"):
        weights.instantiate(weights.load(foreign, FOREIGN), CLASSES)
    told = weights.load(foreign, {**FOREIGN, "image_size": 16})
    assert weights.complete(told, CLASSES).image_size == 16


@pytest.mark.parametrize("options", [FOREIGN, {**FOREIGN, "classes": 3}])
def test_a_foreign_file_with_other_classes_is_refused(
    foreign: Path, options: dict[str, Scalar]
) -> None:
    read = weights.load(foreign, options)
    with pytest.raises(InputError, match="is for 3 classes, the data has 2 classes"):
        weights.instantiate(read, ("a", "b"), image_size=16)


def test_weights_of_another_network_are_refused_in_one_line(foreign: Path) -> None:
    read = weights.load(foreign, {**FOREIGN, "model": "resnet32"})
    with pytest.raises(InputError, match=r"does not fit resnet32: \d+ names missing") as caught:
        weights.instantiate(read, CLASSES, image_size=16)
    assert "\n" not in caught.value.message


def test_a_lone_bias_of_another_size_is_refused(tmp_path: Path) -> None:
    state: dict[str, Tensor] = model_of("resnet20").state_dict()
    state["bn1.bias"] = torch.zeros(17)
    torch.save(state, tmp_path / "a.pt")
    read = weights.load(tmp_path / "a.pt", FOREIGN)
    with pytest.raises(InputError, match=r"bn1.bias is \[17\] in the file, \[16\] in the model"):
        weights.instantiate(read, CLASSES, image_size=16)


@pytest.mark.data
def test_the_published_teacher_is_read_by_its_description(teacher_file: Path) -> None:
    read = weights.load(teacher_file, {"model": "resnet56", "normalization": "imagenet"})
    names = tuple("abcdefghij")
    model = weights.instantiate(read, names, image_size=32)
    assert sum(parameter.numel() for parameter in model.parameters()) == 853_018
