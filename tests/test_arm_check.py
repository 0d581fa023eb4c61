"""ARM without a board: benchmarks/arm_check.py."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from compress.errors import MachineError
from tests.conftest import CALLER, ROOT

SCRIPT = ROOT / "benchmarks" / "arm_check.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("arm_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_root_it_says_what_to_do(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="as root") as error:
        script.require_emulation()
    assert "sudo" in error.value.hint


def test_without_the_emulator_it_names_the_package(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        script.shutil, "which", lambda name: None if name.startswith("qemu") else f"/bin/{name}"
    )
    with pytest.raises(MachineError, match="qemu-aarch64-static is missing") as error:
        script.require_emulation()
    assert error.value.hint == "apt install qemu-user-static"


def result(verdict: str = "pass", *, unexpected: tuple[str, ...] = ()) -> dict[str, Any]:
    row = {
        "file": "model.int8.onnx", "verdict": verdict, "different": 9, "images": 64,
        "top1_different": 1, "allowed": "equal logits",
    }  # fmt: skip
    return {"label": "small", "rows": [row], "int8_layers": {"unexpected": list(unexpected)}}


def test_what_differs_on_arm_is_named(script: ModuleType) -> None:
    assert script.problems(result()) == []
    assert script.problems(result("fail")) == [
        "small model.int8.onnx: 9 of 64 images differ, 1 in their class; allowed: equal logits"
    ]
    assert script.problems(result(unexpected=("conv1",))) == [
        "small int8: left in float on ARM: conv1"
    ]


@pytest.mark.slow
def test_an_exported_student_answers_on_arm_as_it_does_here(tmp_path: Path) -> None:
    from tests.trained_run import save_weights

    weights = save_weights(tmp_path / "small_cnn.safetensors")
    commands = [sys.executable, "-m", "compress", "export", str(weights), "--data", "digits"]
    subprocess.run([*commands, "--out", "exported"], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "exported", "--root", str(tmp_path / "root"),
         "--out", "record.json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "HOME": CALLER.get("HOME", "/root")},
    )  # fmt: skip
    if done.returncode == 4:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    (artifact,) = json.loads((tmp_path / "record.json").read_text())["artifacts"]
    fp32, int8 = artifact["rows"]
    assert fp32["verdict"] == int8["verdict"] == "pass"
    # no residual adds: the integers are the same everywhere
    assert (int8["images"], int8["different"]) == (64, 0)
    assert artifact["int8_layers"]["float"] == []
    assert artifact["int8_layers"]["integer"] == 7
    assert artifact["machine"]["system"] == "Linux aarch64"
    assert "_ms" not in json.dumps(artifact)
