"""`compress check` as a user types it, on a machine without torch and onnx."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import RunCli
from tests.stages.test_check import accept, change_bias
from tests.tiny_models import write_classifier
from tests.trained_run import exported_workspace

DEVICE = "import sys\nfor name in ('torch', 'onnx', 'safetensors'): sys.modules[name] = None\n"


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An exported student that may be changed."""
    place = exported_workspace() / "exported" / "digits-test-01234567" / "small_cnn"
    return Path(shutil.copytree(place, tmp_path / "device" / "artifact"))


def test_a_good_artifact_passes_on_a_device(run_cli: RunCli, artifact: Path) -> None:
    finished = run_cli("check", "artifact", cwd=artifact.parent, code=DEVICE)
    assert finished.code == 0, finished.stderr
    assert finished.stdout.count("pass") == 6
    finished = run_cli("check", ".", "--json", "-", cwd=artifact, code=DEVICE)
    assert {row["verdict"] for row in json.loads(finished.stdout)["rows"]} == {"pass"}


def test_an_altered_file_ends_with_3(run_cli: RunCli, artifact: Path) -> None:
    data = bytearray((artifact / "model.int8.onnx").read_bytes())
    data[1000] ^= 1
    (artifact / "model.int8.onnx").write_bytes(data)
    finished = run_cli("check", artifact, code=DEVICE)
    assert finished.code == 3
    assert "model.int8.onnx differs from its manifest" in finished.stderr
    assert finished.stdout == ""


def test_other_answers_end_with_5_and_a_likely_cause(run_cli: RunCli, artifact: Path) -> None:
    change_bias(artifact / "model.int8.onnx", 0.5)
    accept(artifact)
    finished = run_cli("check", artifact, code=DEVICE)
    assert finished.code == 5
    assert "error: small_cnn model.int8.onnx: 64 of 64 images answered differently" in (
        finished.stderr
    )
    assert "hint: likely cause: " in finished.stderr
    assert "fail" in finished.stdout


def test_a_file_without_golden_answers_ends_with_6(
    run_cli: RunCli, artifact: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone" / "m.onnx"
    alone.parent.mkdir()
    shutil.copy(artifact / "model.onnx", alone)
    finished = run_cli("check", alone, code=DEVICE)
    assert finished.code == 6
    assert "opened" in finished.stdout
    assert "error: small_cnn m.onnx runs, but nothing was there to compare its answers with; " in (
        finished.stderr
    )
    assert "0 of 1 files answered as expected\nhint: golden answers lie in golden.npz" in (
        finished.stderr
    )


def test_a_reader_that_leaves_changes_no_verdict(run_cli: RunCli, tmp_path: Path) -> None:
    foreign = write_classifier(tmp_path / "m.onnx")
    closed = "import os\nread, write = os.pipe()\nos.close(read)\nos.dup2(write, 1)\n"
    for form in ((), ("--json", "-")):
        finished = run_cli("check", foreign, *form, code=closed)
        assert finished.code == 6, finished.stderr


def test_nan_ends_with_5(run_cli: RunCli, tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "m.onnx", gain=float("nan"))
    finished = run_cli("check", model, code=DEVICE)
    assert (finished.code, finished.stdout) == (5, "")
    assert "answers with NaN or infinity" in finished.stderr


def test_an_absent_provider_ends_with_4(run_cli: RunCli, artifact: Path) -> None:
    finished = run_cli("check", artifact, "--provider", "CUDAExecutionProvider", code=DEVICE)
    assert finished.code == 4
    assert "CPUExecutionProvider" in finished.stderr


def test_nothing_there_ends_with_3(run_cli: RunCli) -> None:
    finished = run_cli("check", "last")
    assert finished.code == 3
    assert "nothing under exported/" in finished.stderr
