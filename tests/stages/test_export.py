"""`compress export` as a whole: what is written, that it is right, and the same twice."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from compress import runtime
from compress.config.export import ExportConfig
from compress.errors import ConfigError, UnusableError
from compress.graph.write import write_graph
from compress.measure.artifact import find_artifacts
from compress.measure.golden import load_golden
from compress.records.artifact import ArtifactManifest
from compress.records.export import ExportRecord
from compress.stages import export_forms
from compress.stages.export import export
from compress.stages.export_folder import other_trainings
from compress.stages.export_sources import Source
from tests.bench_rows import load, rows
from tests.tiny_models import write_folder
from tests.trained_run import digits, exported_workspace

ID = "digits-test-01234567"


@pytest.fixture(scope="module")
def exported() -> Path:
    """The export of a run with a student, a control and a teacher; not to be changed."""
    return exported_workspace() / "exported" / ID


def run_export(out: Path, **options: Any) -> ExportRecord:
    source = str(exported_workspace() / "runs" / ID)
    config = {"source": source, "out": out, "teacher": False, **options}
    return export(ExportConfig.model_validate(config))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_students_and_teacher_get_a_folder_each(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == ["small_cnn", "teacher"]
    record = ExportRecord.read(exported_workspace() / "record.json")
    assert [row.manifest.role for row in record.artifacts] == ["student", "teacher"]
    assert record.problems == ()


def test_a_folder_holds_every_file_that_was_asked_for(exported: Path) -> None:
    names = {
        *("model.onnx", "model.int8.onnx", "model.fp16.onnx", "model.ort", "model.int8.ort"),
        *("model.fp16.ort", "labels.txt", "golden.npz", "manifest.json", "README.md"),
    }
    assert set(digests(exported / "small_cnn")) == names
    manifest = ArtifactManifest.read(exported / "small_cnn" / "manifest.json")
    assert set(manifest.files) == names - {"manifest.json"}


def test_the_manifest_tells_the_truth_about_every_file(exported: Path) -> None:
    folder = exported / "small_cnn"
    manifest = ArtifactManifest.read(folder / "manifest.json")
    for name, file in manifest.files.items():
        data = (folder / name).read_bytes()
        assert (file.sha256, file.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        if file.kind == "onnx":
            model = onnx.load_model_from_string(data)
            assert (file.opset, file.ir_version) == (18, model.ir_version)
            assert {o.domain: o.version for o in model.opset_import} == {"": 18}
    assert (folder / "labels.txt").read_text().split() == list("0123456789")


def test_parents_are_named_by_content(exported: Path) -> None:
    manifest = ArtifactManifest.read(exported / "small_cnn" / "manifest.json")
    run = exported_workspace() / "runs" / ID
    weights = run / "students" / "small_cnn.safetensors"
    splits = digits()
    assert manifest.parents == {
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "run": hashlib.sha256((run / "manifest.json").read_bytes()).hexdigest(),
        "train": splits.train.sha256,
        "validation": splits.validation.sha256,
        "test": splits.test.sha256,
    }


def test_golden_answers_are_of_real_test_images(exported: Path) -> None:
    golden = load_golden(exported / "small_cnn" / "golden.npz")
    test = digits().test
    known = {image.tobytes(): label for image, label in zip(test.images[:], test.known_labels)}  # noqa: B905
    assert len(golden.inputs) == 64
    assert [known[image.tobytes()] for image in golden.inputs] == golden.labels.tolist()
    assert set(golden.expected) == {"fp32", "fp16", "int8"}
    session = runtime.open_session(exported / "small_cnn" / "model.onnx")
    given = np.concatenate([session.run(None, {"image": x[np.newaxis]})[0] for x in golden.inputs])
    np.testing.assert_allclose(golden.expected["fp32"]["logits"], given, atol=1e-4)


def test_the_same_run_exported_twice_gives_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    run_export(tmp_path / "again", precision=("fp32", "int8", "fp16"), ort=True)
    assert digests(tmp_path / "again" / "small_cnn") == digests(exported / "small_cnn")


def test_nothing_of_this_machine_is_in_the_files(exported: Path) -> None:
    for path in (exported / "small_cnn").iterdir():
        data = path.read_bytes()
        for text in (str(exported_workspace()), "/root", "/home", "site-packages"):
            assert text.encode() not in data, f"{path.name} holds {text}"


def test_a_device_can_open_what_was_exported(exported: Path) -> None:
    found = find_artifacts(exported)
    assert [artifact.label for artifact in found] == ["teacher", "small_cnn"]
    for artifact in found:
        assert list(artifact.files) == ["fp32", "fp16", "int8"]
        assert artifact.card.macs == artifact.cards["int8"].macs == 2_415_872
        assert artifact.card.dataset == "digits"


def test_exporting_again_replaces_and_another_run_does_not(tmp_path: Path) -> None:
    first = run_export(tmp_path / "out", precision=("fp32",)).artifacts[0]
    second = run_export(tmp_path / "out", precision=("fp32", "fp16")).artifacts[0]
    assert set(first.manifest.files) < set(second.manifest.files)
    before = digests(tmp_path / "out" / "small_cnn")
    other = tmp_path / "runs" / "other"
    shutil.copytree(exported_workspace() / "runs" / ID, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "id": "other"}))
    with pytest.raises(ConfigError, match=f"an artifact of run {ID}"):
        run_export(tmp_path / "out", source=str(other), precision=("fp32",))
    assert digests(tmp_path / "out" / "small_cnn") == before
    run_export(tmp_path / "out", source=str(other), precision=("fp32",), force=True)
    assert digests(tmp_path / "out" / "small_cnn") != before


def test_a_broken_graph_leaves_nothing_and_an_earlier_artifact_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_export(tmp_path / "old", precision=("fp32",))
    before = digests(tmp_path / "old" / "small_cnn")

    def broken(*args: Any, **options: Any) -> Any:
        graph = write_graph(*args, **options)
        bias = next(t for t in graph.graph.initializer if t.name == "linear.bias")
        bias.raw_data = np.ones(10, dtype=np.float32).tobytes()
        return graph

    monkeypatch.setattr(export_forms, "write_graph", broken)
    for place in ("old", "new"):
        with pytest.raises(UnusableError, match="does not compute what torch computes"):
            run_export(tmp_path / place, precision=("fp32",))
    assert digests(tmp_path / "old" / "small_cnn") == before
    assert list((tmp_path / "new").iterdir()) == []


def test_bench_follows_an_export_of_a_folder_that_is_called_as_a_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "digits"
    splits = digits()
    for name, images in (("train", splits.train), ("test", splits.test)):
        write_folder(folder / name, images.subset(np.arange(120)))
        for place in (folder / name / "test").iterdir():
            place.rename(folder / name / place.name)
        (folder / name / "test").rmdir()
    source = str(exported_workspace() / "teacher.safetensors")
    record = run_export(tmp_path / "out", source=source, data=str(folder), precision=("fp32",))
    manifest = record.artifacts[0].manifest
    assert manifest.data_note == "images of the user's own folder digits"
    assert (manifest.card.dataset, manifest.card.dataset_kind) == ("digits", "folder")
    assert manifest.card.dataset_sha256 == manifest.parents["test"]
    assert "classes of the folder digits" in (tmp_path / "out/small_cnn/README.md").read_text()
    assert load(rows(tmp_path / "out")).of_size[8].count == 120


@pytest.mark.data
def test_a_published_network_keeps_its_accuracy_in_int8(
    cifar_dir: Path, teacher_file: Path, tmp_path: Path
) -> None:
    record = export(
        ExportConfig.model_validate(
            {
                "source": f"{teacher_file}:model=resnet56,normalization=imagenet",
                "data": "cifar10",
                "data_dir": cifar_dir,
                "out": tmp_path,
            }
        )
    )
    manifest = record.artifacts[0].manifest
    int8 = manifest.measured("int8")
    assert int8 is not None
    assert int8.images == 10_000
    assert manifest.top1("fp32") == pytest.approx(0.9339, abs=2e-4)
    assert (int8.top1 or 0) >= 0.931
    assert int8.agreement >= 0.99
    assert manifest.quantization is not None
    assert (manifest.quantization.layers, manifest.quantization.float_layers) == (56, ())
    sizes = {name: file.size_bytes for name, file in manifest.files.items()}
    assert sizes["model.int8.onnx"] <= 0.3 * sizes["model.onnx"]


def test_what_is_of_another_training_of_the_run_is_said(exported: Path, tmp_path: Path) -> None:
    """A run that is trained again has the same id, and other weights."""
    place = Path(shutil.copytree(exported, tmp_path / "exported"))
    (place / "notes").mkdir()
    shutil.copytree(place / "small_cnn", place / ".small_cnn.ab12cd34.old")
    manifest = ArtifactManifest.read(place / "small_cnn" / "manifest.json")
    same = Source(
        label="small_cnn",
        role="student",
        networks=(),
        headers=(),
        weights_sha256=str(manifest.card.weights_sha256),
        run=ID,
        run_sha256=manifest.parents["run"],
        licence="",
    )
    assert other_trainings(place, [same]) == []
    assert other_trainings(tmp_path / "nothing", [same]) == []
    assert other_trainings(place, [replace(same, run="another", run_sha256="2" * 64)]) == []
    again = replace(same, run_sha256="2" * 64, weights_sha256="3" * 64)
    whose = f"is of another training of run {ID}"
    student, teacher = other_trainings(place, [again])
    assert student == f"{place / 'small_cnn'} {whose}, with other weights: it is replaced"
    assert teacher.startswith(f"{place / 'teacher'} {whose}, and stays")
    assert len(other_trainings(place, [replace(again, weights_sha256=same.weights_sha256)])) == 1
