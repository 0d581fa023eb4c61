"""`compress export` as a user types it."""

import json
import shutil
from pathlib import Path

import pytest

from compress.version import install_hint
from tests.conftest import RunCli
from tests.trained_run import exported_workspace, save_outliers

RUN = "digits-test-01234567"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with a complete run."""
    folder = tmp_path / "place"
    shutil.copytree(exported_workspace() / "runs", folder / "runs")
    return folder


def test_last_is_exported_under_its_id(run_cli: RunCli, place: Path) -> None:
    finished = run_cli("export", "last", "--no-teacher", "--json", "export.json", cwd=place)
    assert finished.code == 0, finished.stderr
    assert "small_cnn" in finished.stdout
    assert (place / "exported" / RUN / "small_cnn" / "model.int8.onnx").is_file()
    assert f"next: compress bench exported/{RUN}" in finished.stderr
    assert "fp32 equals torch on 360 test images" in finished.stderr
    record = json.loads((place / "export.json").read_text())
    (row,) = record["artifacts"]
    assert row["folder"] == f"exported/{RUN}/small_cnn"
    assert row["problems"] == []
    assert row["manifest"]["quantization"]["target"] == "portable"
    assert {"schema", "environment"} <= set(record)


def test_an_int8_that_loses_too_much_ends_with_5_and_keeps_fp32(
    run_cli: RunCli, tmp_path: Path
) -> None:
    path = save_outliers(tmp_path / "w.safetensors", stages=(1, 2, 3), factor=1000.0)
    finished = run_cli("export", path, "--data", "digits", "--out", tmp_path / "out")
    assert finished.code == 5
    assert "error: small_cnn: int8 left out" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert " dB" in finished.stdout
    names = {file.name for file in (tmp_path / "out" / "small_cnn").iterdir()}
    assert "model.onnx" in names
    assert "model.int8.onnx" not in names


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nothing",), 3, "neither a run nor a weights file"),
        (("last", "--target", "gpu"), 2, "--target gpu"),
    ],
)
def test_bad_input_is_one_line_and_its_code(
    run_cli: RunCli, place: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    finished = run_cli("export", *arguments, cwd=place)
    assert finished.code == code, finished.stderr
    error = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert said in error[0]
    assert "Traceback" not in finished.stderr


def test_without_torch_the_line_that_installs_it_is_shown(run_cli: RunCli, place: Path) -> None:
    finished = run_cli("export", "last", cwd=place, code="import sys\nsys.modules['torch'] = None")
    assert finished.code == 4
    assert install_hint("train") in finished.stderr
