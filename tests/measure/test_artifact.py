"""Finding and opening artifacts without torch and onnx."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from compress.errors import InputError
from compress.files import sha256_file
from compress.measure.artifact import find_artifacts, open_artifact, resolve, verify_files
from compress.records.artifact import ArtifactFile, ArtifactManifest
from compress.runtime import open_session, read_card
from tests.fake_run import make_run
from tests.tiny_models import COLOURS, write_classifier


def write_manifest(folder: Path, **fields: Any) -> ArtifactManifest:
    """A manifest of everything in a folder of tiny models."""
    kinds = {".onnx": "onnx", ".ort": "ort", ".txt": "labels", ".npz": "golden"}
    files = {
        path.name: ArtifactFile.model_validate(
            {
                "kind": kinds[path.suffix],
                "precision": "int8" if "int8" in path.name else "fp32",
                "sha256": sha256_file(path),
                "size_bytes": path.stat().st_size,
            }
        )
        for path in sorted(folder.iterdir())
        if path.suffix in kinds
    }
    card = read_card(open_session(folder / "model.onnx"))
    base = {"label": folder.name, "role": card.role, "card": card, "files": files}
    manifest = ArtifactManifest.model_validate(
        {**base, "licence": "none", "data_note": "none", **fields}
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    return manifest


def write_artifact(folder: Path, **fields: Any) -> Path:
    """A folder with two forms of a tiny model, labels and a manifest."""
    name = folder.name
    write_classifier(folder / "model.onnx", name=name, **fields)
    write_classifier(folder / "model.int8.onnx", name=name, precision="int8", **fields)
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in COLOURS))
    write_manifest(folder)
    return folder


def test_a_folder_is_opened_with_every_form(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "tiny")
    found = open_artifact(folder)
    assert found.label == "tiny"
    assert {p: path.name for p, path in found.files.items()} == {
        "fp32": "model.onnx",
        "int8": "model.int8.onnx",
    }
    assert found.cards["int8"].precision == "int8"
    assert found.card.class_names == COLOURS
    assert found.manifest is not None
    assert found.golden is None


def test_a_folder_without_manifest_is_enough(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "tiny")
    (folder / "manifest.json").unlink()
    found = open_artifact(folder)
    assert found.manifest is None
    assert list(found.files) == ["fp32", "int8"]


def test_a_form_is_known_by_its_card_under_any_name(tmp_path: Path) -> None:
    write_classifier(tmp_path / "model.onnx", precision="int8")
    found = open_artifact(tmp_path)
    assert list(found.files) == list(found.cards) == ["int8"]


def test_two_files_of_one_precision_are_refused(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.int8.onnx"):
        write_classifier(tmp_path / name, precision="int8")
    with pytest.raises(InputError, match=r"model\.onnx and .*model\.int8\.onnx are both int8"):
        open_artifact(tmp_path)


def test_foreign_files_are_known_by_their_names(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.int8.onnx"):
        write_classifier(tmp_path / name, card=False)
    assert list(open_artifact(tmp_path).files) == ["fp32", "int8"]


def test_a_model_file_alone_is_enough(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "some" / "m.onnx", name="mine")
    found = open_artifact(path)
    assert (found.label, list(found.files.values())) == ("mine", [path])


def test_a_foreign_file_is_labelled_by_its_name(tmp_path: Path) -> None:
    found = open_artifact(write_classifier(tmp_path / "theirs.onnx", card=False))
    assert (found.label, found.card.foreign) == ("theirs", True)


def test_the_teacher_comes_first_and_students_by_label(tmp_path: Path) -> None:
    for name, role in (("b", "student"), ("a", "control"), ("teacher", "teacher")):
        write_artifact(tmp_path / name, role=role)
    assert [found.label for found in find_artifacts(tmp_path)] == ["teacher", "a", "b"]


def test_a_place_that_is_named_may_have_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(find_artifacts(write_artifact(tmp_path / ".tiny"))) == 1
    (tmp_path / ".tiny" / "below").mkdir()
    monkeypatch.chdir(tmp_path / ".tiny" / "below")
    assert len(find_artifacts(Path(".."))) == 1


def test_half_written_folders_are_not_found(tmp_path: Path) -> None:
    write_artifact(tmp_path / "tiny")
    write_artifact(tmp_path / ".tiny.x.part")
    assert len(find_artifacts(tmp_path)) == 1


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx", "labels.txt"])
def test_an_altered_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_artifact(tmp_path / "tiny")
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(InputError, match=f"{name} differs from its manifest"):
        open_artifact(folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "tiny")
    (folder / "labels.txt").unlink()
    with pytest.raises(InputError, match=r"labels\.txt is missing"):
        open_artifact(folder)


def test_labels_must_be_as_many_as_classes(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "tiny")
    (folder / "labels.txt").write_text("red\ngreen\n")
    manifest = write_manifest(folder)
    with pytest.raises(InputError, match="2 names, the model has 3 classes"):
        verify_files(folder, manifest)


def test_a_file_that_the_manifest_does_not_know_is_no_form(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "tiny")
    write_classifier(folder / "model.fp16.onnx", precision="fp16")
    assert list(open_artifact(folder).files) == ["fp32", "int8"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ('{"schema": 99, "files": {}}', "schema 99"),
        ('{"schema": 1, "label": "tiny"}', "no ArtifactManifest"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: str, said: str) -> None:
    folder = write_artifact(tmp_path / "tiny")
    (folder / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=said):
        open_artifact(folder)


FOREIGN = ['{"name": "Shop", "icons": []}', '{"schema": 2, "steps": []}', '{"files": []}',
           "null", "3", "[]", '"text"']  # fmt: skip


@pytest.mark.parametrize("content", [*FOREIGN, "{"])
def test_a_manifest_of_another_program_makes_no_artifact(tmp_path: Path, content: str) -> None:
    write_artifact(tmp_path / "tiny")
    for folder in (tmp_path, tmp_path / "web"):
        folder.mkdir(exist_ok=True)
        (folder / "manifest.json").write_text(content)
    assert [found.label for found in find_artifacts(resolve(str(tmp_path)))] == ["tiny"]
    with pytest.raises(InputError, match="no artifact in"):
        find_artifacts(resolve(str(tmp_path / "web")))


@pytest.mark.parametrize("content", FOREIGN)
def test_a_model_beside_a_manifest_of_another_program_is_opened(
    tmp_path: Path, content: str
) -> None:
    write_classifier(tmp_path / "theirs" / "model.onnx", card=False)
    (tmp_path / "theirs" / "manifest.json").write_text(content)
    (found,) = find_artifacts(resolve(str(tmp_path / "theirs")))
    assert (found.label, found.manifest, list(found.files)) == ("theirs", None, ["fp32"])


def test_an_artifact_that_lost_its_models_is_not_passed_over(tmp_path: Path) -> None:
    write_artifact(tmp_path / "whole")
    for path in write_artifact(tmp_path / "lost").glob("*.onnx"):
        path.unlink()
    with pytest.raises(InputError, match=r"lost/model.*onnx is missing"):
        find_artifacts(tmp_path)


def test_a_foreign_file_is_labelled_by_its_folder_however_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_classifier(tmp_path / "theirs" / "model.onnx", card=False).parent
    (folder / "below").mkdir()
    (tmp_path / "linked").symlink_to(folder)
    monkeypatch.chdir(folder / "below")
    places = (Path(".."), Path("../below/.."), tmp_path / "linked")
    assert [open_artifact(place).label for place in places] == ["theirs", "theirs", "linked"]
    monkeypatch.chdir(folder)
    assert open_artifact(Path()).label == "theirs"


def test_what_is_no_artifact_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="no artifact in"):
        find_artifacts(tmp_path)
    with pytest.raises(InputError, match="no model file"):
        open_artifact(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="does not exist"):
        find_artifacts(tmp_path / "nothing")


def test_names_lead_to_places(workspace: Path) -> None:
    write_artifact(workspace / "exported" / "run-1" / "tiny")
    make_run(workspace / "runs" / "run-1", images=50)
    make_run(workspace / "runs" / "run-2", images=50)
    place = Path("exported/run-1")
    assert resolve("exported/run-1") == place
    assert resolve("run-1") == place
    assert resolve("runs/run-1") == place
    assert resolve(str(workspace / "runs" / "run-1")) == place
    assert resolve("exported/run-1/tiny") == place / "tiny"
    with pytest.raises(InputError, match="run run-2 has not been exported"):
        resolve("run-2")
    with pytest.raises(InputError, match="no artifact 'other'"):
        resolve("other")


def test_last_is_the_newest_run_and_never_an_older_one(workspace: Path) -> None:
    with pytest.raises(InputError, match="nothing under"):
        resolve("last")
    for number in (1, 2):
        make_run(workspace / "runs" / f"run-{number}", images=50)
        os.utime(workspace / "runs" / f"run-{number}" / "lock", (number, number))
        write_artifact(workspace / "exported" / f"run-{number}" / "tiny")
    assert resolve("last") == Path("exported/run-2")
    make_run(workspace / "runs" / "run-3", images=50)
    with pytest.raises(InputError, match="complete run runs/run-3 has not been exported") as caught:
        resolve("last")
    assert "compress export runs/run-3" in caught.value.hint


def test_last_without_runs_is_the_newest_export(workspace: Path) -> None:
    for number in (2, 1):
        folder = write_artifact(workspace / "exported" / f"run-{number}" / "tiny").parent
        os.utime(folder, (number, number))
    assert resolve("last") == Path("exported/run-2")


def test_a_manifest_names_every_field(tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "tiny")
    found = json.loads((folder / "manifest.json").read_text())
    assert {"schema", "label", "card", "files", "parents", "fidelity", "licence"} <= set(found)
