"""`compress bench` as a user types it."""

import json
import shlex
from pathlib import Path

import pytest

from compress.measure.roofline import RULER
from compress.version import install_hint
from tests.conftest import RunCli
from tests.tiny_models import coloured_images, write_export, write_folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working directory with an export and a folder of images."""
    folder = tmp_path / "here"
    write_export(folder / "exported" / "demo")
    write_folder(folder / "images", coloured_images([0, 1, 2] * 40))
    return folder


def test_the_table_goes_to_standard_output_and_notes_to_the_other(
    run_cli: RunCli, here: Path
) -> None:
    finished = run_cli("bench", "demo", "--max-seconds", 0.2, cwd=here)
    assert finished.code == 0, finished.stderr
    for name in ("big", "small", "Speed-up"):
        assert name in finished.stdout
    assert "no accuracy: unknown data 'colours'" in finished.stderr
    assert "next: compress gate demo" in finished.stderr
    assert "no accuracy" not in finished.stdout


def test_json_is_one_document_with_the_contracts_keys(run_cli: RunCli, here: Path) -> None:
    finished = run_cli(
        "bench", "demo", "--data", "images", "--max-seconds", 0.2, "--json", "-", "--quiet",
        "--per-class", cwd=here,
    )  # fmt: skip
    assert (finished.code, finished.stderr) == (0, "")
    document = json.loads(finished.stdout)
    assert document["schema"] == 1
    assert [model["top1"] for model in document["models"]] == pytest.approx([2 / 3, 1, 2 / 3])
    assert [row["images"] for row in document["models"][1]["per_class"]] == [40, 40, 40]


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (("demo", "--data", "images"), "demo --data images --max-top1-drop 0.01"),
        (("demo/small", "--data", "images"), "demo/small --data images --min-top1 0.66"),
        (("demo/small",), "demo/small --max-size-kib 1"),
        (
            ("demo/small", "--teacher", "demo/teacher", "--data", "images"),
            "demo/small --data images --teacher demo/teacher --max-top1-drop 0.01",
        ),
    ],
)
def test_the_next_step_has_a_limit_that_can_be_judged(
    invoke: RunCli,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    suggested: str,
) -> None:
    monkeypatch.chdir(here)
    (here / "demo").symlink_to(here / "exported" / "demo")
    largest = max(path.stat().st_size for path in (here / "demo" / "small").iterdir())
    assert largest <= 1024
    finished = invoke("bench", *arguments, "--max-seconds", 0.2)
    (line,) = [line for line in finished.stderr.splitlines() if line.startswith("next: ")]
    assert line == f"next: compress gate {suggested}"
    assert invoke(*shlex.split(line)[2:], "--max-seconds", 0.2).code in {0, 1}


def test_without_images_the_next_step_is_about_the_teachers_time(
    invoke: RunCli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    finished = invoke("bench", "demo", "--max-seconds", 0.2)
    assert "next: compress gate demo --max-latency-ratio 0." in finished.stderr


def test_a_file_gets_the_json_beside_the_table(run_cli: RunCli, here: Path) -> None:
    finished = run_cli("bench", "demo", "--max-seconds", 0.2, "--json", "out/b.json", cwd=here)
    assert finished.code == 0
    assert "small" in finished.stdout
    assert json.loads((here / "out" / "b.json").read_text())["models"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "nothing to measure"),
        (("nowhere",), 3, "no artifact 'nowhere'"),
        (("demo", "--threads", 999), 4, "--threads 999"),
        (("demo", "--threads", 0), 2, "--threads 0"),
        (("demo", "--provider", "Tpu"), 4, "CPUExecutionProvider"),
        (("demo", "--data", "imagenot"), 2, "unknown data 'imagenot'"),
        (("demo", "--data", "images", "--strict", "--limit", 0), 2, "--limit 0"),
        ((f"{RULER}:normalization=sun",), 2, "unknown normalization 'sun'"),
        (("--student", "small_cn"), 2, "unknown model 'small_cn'"),
    ],
)
def test_what_cannot_be_is_one_line_with_its_exit_code(
    run_cli: RunCli, here: Path, arguments: tuple[object, ...], code: int, said: str
) -> None:
    finished = run_cli("bench", *arguments, "--max-seconds", 0.2, cwd=here)
    assert (finished.code, finished.stdout) == (code, "")
    assert said in finished.stderr
    assert "Traceback" not in finished.stderr


def test_it_runs_where_there_is_no_torch_and_no_onnx(run_cli: RunCli, here: Path) -> None:
    block = "import sys\nfor name in ('torch', 'onnx', 'sklearn'): sys.modules[name] = None\n"
    finished = run_cli("bench", "demo", "--max-seconds", 0.2, cwd=here, code=block)
    assert finished.code == 0, finished.stderr


def test_candidates_without_torch_say_what_to_install(run_cli: RunCli, here: Path) -> None:
    block = "import sys\nsys.modules['torch'] = None\n"
    finished = run_cli("bench", "--student", "small_cnn", cwd=here, code=block)
    assert finished.code == 4, finished.stderr
    assert install_hint("train") in finished.stderr
