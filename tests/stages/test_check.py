"""`compress check`: what passes, what fails, and why it says it does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compress import runtime
from compress.config.check import CheckConfig
from compress.environment import read_environment
from compress.errors import InputError, MachineError, UnusableError
from compress.files import sha256_file
from compress.graph.write import seal
from compress.measure.golden import Golden, load_golden, save_golden
from compress.records.check import CheckRecord
from compress.records.model_card import ModelCard
from compress.stages.check import check
from tests.conftest import OFFICIAL, ROOT
from tests.tiny_models import write_classifier, write_more
from tests.trained_run import exported_workspace


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An exported student that may be changed."""
    place = exported_workspace() / "exported" / "digits-test-01234567" / "small_cnn"
    return Path(shutil.copytree(place, tmp_path / "artifact"))


def run(place: Path, **options: str) -> CheckRecord:
    return check(CheckConfig(artifact=str(place), **options))


def accept(folder: Path) -> None:
    """Let the manifest agree with the files as they are now."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, file in manifest["files"].items():
        file["sha256"] = sha256_file(folder / name)
        file["size_bytes"] = (folder / name).stat().st_size
    (folder / "manifest.json").write_text(json.dumps(manifest))


def change_bias(path: Path, by: float) -> None:
    """Alter a network's last bias and seal it again: a valid file that computes something else."""
    model = onnx.load(path)
    card = ModelCard.from_metadata({e.key: e.value for e in model.metadata_props}, source="x")
    assert card is not None
    for tensor in model.graph.initializer:
        if tensor.name in ("linear.bias", "linear.bias_quantized"):
            values = numpy_helper.to_array(tensor).copy()
            values[0] += by if values.dtype == np.float32 else 5000
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    path.write_bytes(seal(model, card))


def test_where_it_was_made_everything_passes() -> None:
    record = run(exported_workspace() / "exported" / "digits-test-01234567")
    assert record.verified_files == 18
    assert len(record.rows) == 12
    assert {row.verdict for row in record.rows} == {"pass"}
    int8 = [row for row in record.rows if row.precision == "int8"]
    assert all((row.different, row.max_steps, row.images) == (0, 0.0, 64) for row in int8)
    assert {row.allowed for row in int8} == {"bit-equal logits"}
    assert all(row.top1 is not None and row.top1 > 0.6 for row in record.rows)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "README.md", "model.int8.ort"])
def test_an_altered_file_is_refused(artifact: Path, name: str) -> None:
    data = bytearray((artifact / name).read_bytes())
    data[len(data) // 3] ^= 4
    (artifact / name).write_bytes(data)
    with pytest.raises(InputError, match=f"{name} differs from its manifest"):
        run(artifact)


def test_a_missing_file_is_refused(artifact: Path) -> None:
    (artifact / "golden.npz").unlink()
    with pytest.raises(InputError, match=r"golden\.npz is missing"):
        run(artifact)


def test_a_form_that_computes_something_else_fails(artifact: Path) -> None:
    change_bias(artifact / "model.onnx", 0.5)
    change_bias(artifact / "model.int8.onnx", 0.5)
    accept(artifact)
    failed = {row.file: row for row in run(artifact).failed}
    assert set(failed) == {"model.onnx", "model.int8.onnx"}
    assert failed["model.int8.onnx"].different == 64
    assert failed["model.onnx"].max_difference == pytest.approx(0.5, abs=1e-3)
    assert failed["model.onnx"].cause


def test_another_onnxruntime_is_the_likely_cause(artifact: Path) -> None:
    change_bias(artifact / "model.onnx", 0.5)
    accept(artifact)
    manifest = json.loads((artifact / "manifest.json").read_text())
    manifest["tools"]["onnxruntime"] = "1.14.0"
    (artifact / "manifest.json").write_text(json.dumps(manifest))
    (failed,) = run(artifact).failed
    assert failed.cause is not None
    assert "1.14.0 where it was made" in failed.cause


def saturating(monkeypatch: pytest.MonkeyPatch) -> None:
    old = read_environment().model_copy(
        update={"system": "Linux x86_64", "instruction_sets": ("avx2",)}
    )
    monkeypatch.setattr(runtime, "read_environment", lambda: old)


def retarget(folder: Path, target: str) -> None:
    """Say that the int8 form was quantized for another target."""
    model = onnx.load(folder / "model.int8.onnx")
    card = ModelCard.from_metadata({e.key: e.value for e in model.metadata_props}, source="x")
    assert card is not None
    data = seal(model, card.model_copy(update={"target": target}))
    (folder / "model.int8.onnx").write_bytes(data)
    accept(folder)


def test_full_range_int8_runs_unsaturated_on_a_cpu_that_would(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retarget(artifact, "vnni")
    saturating(monkeypatch)
    rows = {row.file: row for row in run(artifact).rows}
    assert rows["model.int8.onnx"].verdict == "pass"
    assert rows["model.int8.onnx"].note is not None
    assert "without saturation" in rows["model.int8.onnx"].note
    # ONNX Runtime's own format is optimized before that could be switched off
    assert rows["model.int8.ort"].verdict == "opened"
    assert rows["model.onnx"].note is None


def test_a_cpu_that_saturates_is_the_likely_cause_for_full_range(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retarget(artifact, "arm64")
    change_bias(artifact / "model.int8.onnx", 0.5)
    accept(artifact)
    saturating(monkeypatch)
    (failed,) = run(artifact).failed
    assert failed.cause is not None
    assert "this CPU saturates" in failed.cause


def test_an_absent_provider_is_refused(artifact: Path) -> None:
    with pytest.raises(MachineError, match="NnapiExecutionProvider"):
        run(artifact, provider="NnapiExecutionProvider")


def test_a_model_file_beside_its_golden_answers_is_compared(artifact: Path) -> None:
    record = run(artifact / "model.int8.onnx")
    (row,) = record.rows
    assert (row.verdict, row.images, record.verified_files) == ("pass", 64, 0)


def test_int8_deployed_under_another_name_is_compared_with_its_own_answers(
    artifact: Path, tmp_path: Path
) -> None:
    device = tmp_path / "device"
    device.mkdir()
    shutil.copy(artifact / "golden.npz", device)
    shutil.copy(artifact / "model.int8.onnx", device / "model.onnx")
    (row,) = run(device).rows
    assert (row.file, row.precision, row.verdict) == ("model.onnx", "int8", "pass")


def test_a_model_file_alone_is_opened_and_its_digest_checked(
    artifact: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone" / "m.onnx"
    alone.parent.mkdir()
    shutil.copy(artifact / "model.onnx", alone)
    (row,) = run(alone).rows
    assert (row.verdict, row.images, row.sealed) == ("opened", 0, True)
    data = bytearray(alone.read_bytes())
    data[len(data) // 2] ^= 1
    alone.write_bytes(data)
    with pytest.raises(InputError, match="was altered"):
        run(alone)


def test_a_file_in_onnx_runtimes_own_format_holds_no_digest_of_itself(
    artifact: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone" / "m.ort"
    alone.parent.mkdir()
    shutil.copy(artifact / "model.int8.ort", alone)
    (row,) = run(alone).rows
    assert (row.verdict, row.sealed) == ("opened", False)


def test_golden_answers_of_another_export_are_refused(artifact: Path) -> None:
    golden = load_golden(artifact / "golden.npz")
    larger = np.zeros((64, 16, 16, 3), dtype=np.uint8)
    save_golden(artifact / "golden.npz", Golden(larger, golden.labels, golden.expected))
    accept(artifact)
    with pytest.raises(InputError, match="the golden images are"):
        run(artifact)


def test_an_answer_of_another_width_than_the_classes_is_refused(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx")
    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == "compress.class_names":
            entry.value = '["a", "b"]'
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="answers 3 numbers, its metadata name 2 classes"):
        run(path)


def test_a_model_that_answers_nan_is_unusable(tmp_path: Path) -> None:
    # without golden answers it is asked about a grey image: 128 is no 0, so its blue is taken away
    path = write_classifier(tmp_path / "m.onnx", gain=float("nan"))
    with pytest.raises(UnusableError, match=r"m\.onnx answers with NaN"):
        run(path)


def test_a_foreign_file_can_be_opened_and_nothing_is_claimed(tmp_path: Path) -> None:
    (row,) = run(write_classifier(tmp_path / "theirs.onnx", card=False)).rows
    assert (row.label, row.verdict, row.images, row.sealed) == ("theirs", "opened", 0, False)


def test_weights_outside_the_file_are_refused(artifact: Path, tmp_path: Path) -> None:
    path = tmp_path / "outside.onnx"
    onnx.save_model(
        onnx.load(artifact / "model.onnx"), path, save_as_external_data=True, location="w.bin"
    )
    with pytest.raises(InputError, match=r"outside the file, in w\.bin"):
        run(path)


@pytest.mark.slow
def test_portable_int8_is_bit_equal_on_an_emulated_cpu_without_vnni(
    artifact: Path, tmp_path: Path
) -> None:
    emulator = shutil.which("qemu-x86_64-static")
    if emulator is None:
        pytest.skip("needs qemu-user-static")
    finished = subprocess.run(
        [emulator, "-cpu", "Haswell", os.path.realpath(sys.executable), "-S",
         "-m", "compress", "check", str(artifact), "--json", "-"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=500,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    rows = {row["file"]: row for row in json.loads(finished.stdout)["rows"]}
    assert rows["model.int8.onnx"]["allowed"] == "bit-equal logits"
    assert rows["model.int8.onnx"]["verdict"] == "pass"


@pytest.mark.parametrize("folder", OFFICIAL, ids=lambda folder: folder.name)
def test_a_published_artifact_answers_here_as_where_it_was_made(folder: Path) -> None:
    record = check(CheckConfig(artifact=str(folder)))
    assert {(row.file, row.verdict) for row in record.rows} == {
        ("model.onnx", "pass"),
        ("model.int8.onnx", "pass"),
    }
    (int8,) = [row for row in record.rows if row.file == "model.int8.onnx"]
    assert (int8.images, int8.different) == (64, 0)


@pytest.mark.parametrize("outputs", [("label", "logits"), ("logits", "loss")])
def test_a_foreign_file_with_other_outputs_is_opened(
    tmp_path: Path, outputs: tuple[str, ...]
) -> None:
    model = write_more(write_classifier(tmp_path / "m.onnx", card=False), *outputs)
    (row,) = run(model).rows
    assert row.verdict == "opened"


def test_a_foreign_file_that_answers_one_number_for_all_is_no_classifier(tmp_path: Path) -> None:
    model = write_more(write_classifier(tmp_path / "m.onnx", card=False), "loss")
    with pytest.raises(InputError, match="no answer for each image"):
        run(model)
