"""What an export starts from."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.config.export import ExportConfig
from compress.errors import ConfigError, InputError
from compress.models import weights
from compress.stages import export_sources
from compress.stages.export_sources import Found
from tests.notes import Notes
from tests.trained_run import exported_workspace, save_weights


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory that may be changed."""
    place = tmp_path / "runs" / "digits-test-01234567"
    shutil.copytree(exported_workspace() / "runs" / place.name, place)
    return place


def find(source: str | Path, notes: Notes | None = None, **options: Any) -> Found:
    config = ExportConfig.model_validate({"source": str(source), **options})
    return export_sources.find(config, notes or Notes())


def labels(found: Found) -> Sequence[tuple[str, str]]:
    return [(source.label, source.role) for source in found.sources]


def test_students_and_teacher_are_taken_and_controls_are_not(run: Path) -> None:
    found = find(run)
    assert labels(found) == [("small_cnn", "student"), ("teacher", "teacher")]
    assert found.id == run.name
    assert found.splits.image_size == 8
    assert found.sources[0].parameters == 288_746
    assert found.sources[0].architecture == "small_cnn"


def test_a_control_is_taken_when_it_is_named(run: Path) -> None:
    found = find(run, student=("small_cnn-control",), teacher=False)
    assert labels(found) == [("small_cnn-control", "control")]


def test_an_unknown_student_names_the_known_ones(run: Path) -> None:
    with pytest.raises(ConfigError, match="no student 'tiny'") as caught:
        find(run, student=("tiny",))
    assert "small_cnn, small_cnn-control" in caught.value.hint


def test_a_run_of_train_is_exported_without_a_teacher(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "command": "train"}))
    assert labels(find(run)) == [("small_cnn", "student"), ("small_cnn-control", "student")]


def test_a_run_is_found_by_its_id_and_as_last(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent.parent)
    assert find("last", teacher=False).id == run.name
    assert find(run.name, teacher=False).id == run.name


def test_only_complete_runs_are_exported(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    with pytest.raises(InputError, match="is running"):
        find(run)


def test_altered_weights_are_refused(run: Path) -> None:
    path = run / "students" / "small_cnn.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="differs from its manifest"):
        find(run)


def test_other_images_than_those_of_the_run_are_refused(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["config"]["split_seed"] = 1
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="is not the data of run"):
        find(run)


def test_a_teacher_whose_weights_are_gone_is_left_out_with_a_note(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["choices"]["teacher"][0]["path"] = "gone.safetensors"
    (run / "manifest.json").write_text(json.dumps(manifest))
    notes = Notes()
    assert labels(find(run, notes)) == [("small_cnn", "student")]
    assert notes.notes == ["teacher left out: its weights gone.safetensors are gone"]


def test_a_run_is_exported_with_its_teacher_from_another_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifest names the weights as they lay from where the run was begun."""
    manifest = json.loads((run / "manifest.json").read_text())
    shutil.copy(manifest["choices"]["teacher"][0]["path"], tmp_path / "teacher.safetensors")
    manifest["choices"]["teacher"][0]["path"] = "teacher.safetensors"
    (run / "manifest.json").write_text(json.dumps(manifest))
    elsewhere = tmp_path / "build"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert labels(find(Path("..") / "runs" / run.name)) == [
        ("small_cnn", "student"),
        ("teacher", "teacher"),
    ]


def test_a_swapped_teacher_is_refused(run: Path, tmp_path: Path) -> None:
    other = save_weights(tmp_path / "other.safetensors", seed=5, epochs=1)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["choices"]["teacher"][0]["path"] = str(other)
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="changed since the run") as caught:
        find(run)
    assert "--no-teacher" in caught.value.hint
    assert labels(find(run, teacher=False)) == [("small_cnn", "student")]


def test_an_ensemble_answers_the_mean_of_its_members(run: Path, tmp_path: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    first = manifest["choices"]["teacher"][0]
    other = save_weights(tmp_path / "other.safetensors", seed=5, epochs=1)
    loaded = weights.load(other, {})
    second = {**first, "path": str(other), "sha256": loaded.sha256}
    manifest["choices"]["teacher"] = [first, second]
    (run / "manifest.json").write_text(json.dumps(manifest))
    teacher = find(run).sources[1]
    assert teacher.architecture == "small_cnn+small_cnn"
    assert teacher.parameters == 2 * 288_746
    images = torch.from_numpy(np.ascontiguousarray(find(run).splits.test.images[:5]))
    images = images.permute(0, 3, 1, 2)
    with torch.no_grad():
        answer = teacher.classifier("uint8-nhwc")(images).softmax(1)
        members = [
            find(place, data="digits").sources[0].classifier("uint8-nhwc")(images).softmax(1)
            for place in (first["path"], other)
        ]
    torch.testing.assert_close(answer, (members[0] + members[1]) / 2)


def test_a_weights_file_of_ours_needs_only_its_images(tmp_path: Path) -> None:
    path = save_weights(tmp_path / "w.safetensors", epochs=1)
    found = find(path, data="digits")
    assert labels(found) == [("small_cnn", "student")]
    digest = weights.load(path, {}).sha256[:8]
    assert found.id == f"digits-small_cnn-{digest}"
    with pytest.raises(ConfigError, match="does not name its images"):
        find(path)


def test_a_foreign_file_is_described_by_options(tmp_path: Path) -> None:
    path = save_weights(tmp_path / "w.safetensors", epochs=1)
    theirs = tmp_path / "theirs.pt"
    torch.save({"state_dict": weights.load(path, {}).state}, theirs)
    found = find(f"{theirs}:model=small_cnn,normalization=half,image_size=8", data="digits")
    assert found.sources[0].headers[0].mean == (0.5, 0.5, 0.5)
    with pytest.raises(ConfigError, match="does not say which model"):
        find(theirs, data="digits")


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("nothing", InputError, "neither a run nor a weights file"),
        ("folder", InputError, "no run in"),
        ("model.onnx", ConfigError, "already an ONNX file"),
    ],
)
def test_what_cannot_be_exported_is_said(
    tmp_path: Path, name: str, error: type[Exception], said: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(error, match=said):
        find(tmp_path / name)


def test_weights_for_other_classes_are_refused(tmp_path: Path) -> None:
    path = save_weights(tmp_path / "w.safetensors", epochs=1)
    loaded = weights.load(path, {})
    header = loaded.header.model_copy(update={"class_names": tuple("abcdefghij")})
    weights.save(path, loaded.state, header)
    with pytest.raises(InputError, match="classes"):
        find(path, data="digits")
