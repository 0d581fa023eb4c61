from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from compress.config.bench import BenchConfig
from compress.config.specs import Reference, Scalar
from compress.data import places
from compress.data import registry as data_registry
from compress.errors import ConfigError, InputError
from compress.measure.artifact import Artifact, open_artifact
from compress.measure.process import Measurement
from compress.models import registry
from compress.models.cost import macs, parameters
from compress.progress import Silent
from compress.stages import bench_times, candidates
from compress.stages.bench import bench
from compress.stages.candidates import exported, is_made
from tests.tiny_models import SIZE, coloured_images, write_classifier, write_export, write_folder


def config(*students: str, **options: Any) -> BenchConfig:
    return BenchConfig.model_validate({"student": students, "max_seconds": 0.3, **options})


def made(*students: str, **options: Any) -> dict[str, Artifact]:
    with exported(config(*students, **options), Silent()) as found:
        return {
            artifact.label: artifact
            for reference in found.candidates
            for artifact in [open_artifact(Path(reference.target))]
        }


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bench that times nothing, for tests of other things."""
    nothing = bench_times.Timed(Measurement(), (), {})
    monkeypatch.setattr(bench_times, "time_rows", lambda *_, **__: nothing)


def test_candidates_are_ranked_by_latency_where_they_run() -> None:
    found = bench(config("small_cnn:image_size=16", "two_block_cnn:image_size=16"))
    assert sorted(model.label for model in found.models) == [
        "small_cnn fp32", "small_cnn int8", "two_block_cnn fp32", "two_block_cnn int8",
    ]  # fmt: skip
    times = [model.p50_ms for model in found.models]
    assert times == sorted(times, key=float)  # type: ignore[arg-type]
    assert all(model.top1 is None for model in found.models)
    assert "untrained candidates: latency and size only" in found.notes


def test_a_candidates_figures_are_those_of_the_torch_model() -> None:
    (artifact,) = made("small_cnn:image_size=16,classes=7").values()
    model = registry.build("small_cnn", classes=7, image_size=16, options={})
    assert artifact.card.parameters == parameters(model)
    assert artifact.card.macs == macs(model, 16)
    assert (artifact.card.image_size, artifact.card.classes) == (16, 7)
    assert artifact.cards["int8"].target == "portable"
    assert artifact.cards["int8"].weight_bytes is not None
    assert artifact.card.weight_bytes is not None
    assert artifact.cards["int8"].weight_bytes < artifact.card.weight_bytes / 3


def test_candidates_of_one_model_are_told_apart_by_options_or_by_name() -> None:
    specs = config("small_cnn:image_size=8", "mine=small_cnn:image_size=8", "two_block_cnn")
    assert candidates._labels(specs.student) == ["small_cnn-image_size8", "mine", "two_block_cnn"]
    with pytest.raises(ConfigError, match="two candidates are called 'a'"):
        made("a=small_cnn", "a=two_block_cnn")


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ("small_cn", "unknown model 'small_cn'"),
        ("small_cnn:widht=2", "no option 'widht'"),
        ("small_cnn:image_size=big", "image_size=big of small_cnn"),
        ("small_cnn:classes=1", "1 classes"),
    ],
)
def test_a_wrong_candidate_is_named(student: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(student)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (32, 10)),
        ({"data": "cifar100"}, (32, 100)),
        ({"data": "digits"}, (16, 10)),  # as the digits recipe says
    ],
)
def test_candidates_are_made_for_the_data_named(
    options: dict[str, Any], shape: tuple[int, int]
) -> None:
    found = candidates._Shape(config("small_cnn", **options))
    assert (found.image_size, found.classes) == shape


@pytest.fixture
def photos(tmp_path: Path) -> str:
    """Test pictures of three classes and two sizes, and a class whose one picture is broken."""
    place = tmp_path / "photos" / "test"
    for name, size in (("ant", (12, 9)), ("bee", (40, 30)), ("cat", (8, 8))):
        (place / name).mkdir(parents=True)
        Image.new("RGB", size).save(place / name / "a.png")
    (place / "cat" / "a.png").write_bytes(b"not opened")
    return str(place.parent)


def test_no_picture_is_opened_for_candidates_that_say_their_size(photos: str) -> None:
    found = made("small_cnn:image_size=16", "other=small_cnn:image_size=8,classes=5", data=photos)
    assert [(a.card.image_size, a.card.classes) for a in found.values()] == [(16, 3), (8, 5)]


def test_candidates_that_say_no_size_need_pictures_of_one(photos: str) -> None:
    with pytest.raises(ConfigError, match="pictures differ in size") as caught:
        made("a=small_cnn:image_size=16", "b=small_cnn", data=photos)
    assert "image_size=PIXELS" in caught.value.hint


def test_candidates_without_a_size_are_made_for_the_pictures(tmp_path: Path) -> None:
    place = write_folder(tmp_path / "i", coloured_images([0, 1, 2], size=12))
    (card,) = (found.card for found in made("small_cnn", data=str(place)).values())
    assert (card.image_size, card.classes) == (12, 3)


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [("cifar11", ConfigError, "unknown data"), ("./gone", InputError, "there is no folder")],
)
def test_mistyped_data_are_said_before_a_candidate_is_made(
    monkeypatch: pytest.MonkeyPatch, data: str, kind: type[Exception], said: str
) -> None:
    monkeypatch.delattr(candidates, "_write_untrained")
    with pytest.raises(kind, match=said):
        made("small_cnn:image_size=8,classes=3", data=data)


@pytest.mark.usefixtures("untimed")
def test_candidates_beside_an_export_are_made_for_its_images_and_not_judged(tmp_path: Path) -> None:
    place = str(write_export(tmp_path / "e"))
    images = str(write_folder(tmp_path / "i", coloured_images([0, 1, 2])))
    shape = candidates._Shape(config("small_cnn", targets=[place]))
    assert (shape.image_size, shape.classes) == (8, 3)
    found = bench(config("small_cnn", targets=[place], data=images))
    assert {model.label: model.not_judged for model in found.models} == {
        "big fp32": None,
        "small fp32": None,
        "small int8": None,
        "small_cnn fp32": "untrained",
        "small_cnn int8": "untrained",
    }


@pytest.mark.usefixtures("untimed")
def test_candidates_above_the_size_allowed_are_not_timed() -> None:
    found = bench(config("small_cnn:image_size=8", max_size_kib=400))
    assert [model.precision for model in found.models] == ["int8"]
    assert any("above --max-size-kib 400" in note for note in found.notes)


def test_nothing_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    made("small_cnn:image_size=8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("untimed")
def test_a_teacher_can_be_named_by_its_model(tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "s.onnx", size=8, name="s")
    found = bench(config(targets=[str(student)], teacher="small_cnn"))
    assert [(model.name, model.role) for model in found.models] == [
        ("small_cnn", "teacher"),
        ("s", "student"),
    ]
    assert found.models[0].speedup is None
    assert "teacher small_cnn is untrained: latency and size only" in found.notes


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize("name", ["t.pt", "t.th", "t.ckpt"])
def test_a_teacher_can_be_a_weights_file(tmp_path: Path, name: str) -> None:
    import torch

    network = registry.build("two_block_cnn", classes=3, image_size=8, options={})
    torch.save(network.state_dict(), tmp_path / name)
    student = write_classifier(tmp_path / "s.onnx", name="s")
    reference = f"{tmp_path / name}:model=two_block_cnn,normalization=half,classes=3,image_size=8"
    found = bench(config(targets=[str(student)], teacher=reference))
    teacher = found.models[0]
    assert (teacher.name, teacher.role) == ("t", "teacher")
    assert teacher.parameters == parameters(network)


def test_a_teacher_that_names_no_classes_has_those_of_photos_of_any_size(
    tmp_path: Path, photos: str
) -> None:
    import torch

    network = registry.build("two_block_cnn", classes=3, image_size=SIZE, options={})
    torch.save(network.state_dict(), tmp_path / "t.pt")
    student = write_classifier(tmp_path / "s.onnx", name="s")
    reference = f"{tmp_path / 't.pt'}:model=two_block_cnn,normalization=half"
    asked = config(targets=[str(student)], teacher=reference, data=photos)
    with exported(asked, Silent()) as found:
        assert found.teacher is not None
        card = open_artifact(Path(found.teacher.target)).card
    assert (card.class_names, card.image_size) == (("ant", "bee", "cat"), SIZE)


@pytest.mark.usefixtures("untimed")
def test_a_teacher_that_names_no_classes_is_asked_in_the_order_of_the_images(
    tmp_path: Path,
) -> None:
    """Nobody names the data: the images are those that the student was trained for."""
    import torch

    network = registry.build("two_block_cnn", classes=3, image_size=SIZE, options={})
    torch.save(network.state_dict(), tmp_path / "t.pt")
    folder = write_folder(tmp_path / "mine", coloured_images([0, 1, 2] * 4))
    sha256 = data_registry.load_test(str(folder)).sha256
    places.remember(sha256, folder)
    data: dict[str, Any] = {"dataset": "mine", "dataset_kind": "folder", "dataset_sha256": sha256}
    student = write_classifier(tmp_path / "s.onnx", name="s", **data)
    reference = f"{tmp_path / 't.pt'}:model=two_block_cnn,normalization=half"
    found = bench(config(targets=[str(student)], teacher=reference))
    teacher, taught = found.models
    assert (teacher.name, teacher.not_judged) == ("t", None)
    assert teacher.top1 is not None
    assert taught.agreement is not None
    assert any(
        note.startswith("t fp32: names no classes, so those of mine") for note in found.notes
    )


def test_missing_weights_are_named(tmp_path: Path) -> None:
    student = write_classifier(tmp_path / "s.onnx")
    with pytest.raises(InputError, match=r"none\.pt"):
        bench(config(targets=[str(student)], teacher="none.pt:model=small_cnn,normalization=half"))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        *((f"a{suffix}", True) for suffix in (".safetensors", ".pt", ".pth", ".th", ".bin")),
        *(("resnet50", True), ("a.onnx", False), ("x", False)),
    ],
)
def test_what_has_to_be_made_first(target: str, expected: bool) -> None:
    assert is_made(Reference(target=target)) is expected


def test_what_is_there_has_to_be_made_first_where_it_is_described_as_weights(
    tmp_path: Path,
) -> None:
    (tmp_path / "folder.bin").mkdir()
    for name in ("epoch9", "m.onnx", "m.ort"):
        (tmp_path / name).touch()
    options: dict[str, Scalar] = {"model": "resnet56"}
    described = {
        name: is_made(Reference(target=str(tmp_path / name), options=options))
        for name in ("epoch9", "gone", "m.onnx", "m.ort", "folder.bin")
    }
    assert [name for name, made_first in described.items() if made_first] == ["epoch9"]
    assert not is_made(Reference(target=str(tmp_path / "epoch9")))
