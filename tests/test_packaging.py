"""The wheel without extras, in an environment of its own: what a device gets."""

import json
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress import runtime
from compress.measure.golden import Golden, save_golden
from compress.version import VERSION, install_hint
from tests.conftest import CALLER, ROOT
from tests.test_architecture import WORKSTATION
from tests.tiny_models import coloured_images, write_classifier, write_folder

BARE = '''
from typing import Annotated
import typer
app = typer.Typer(help="A bare program.", add_completion=False)
@app.command()
def one(name: Annotated[str, typer.Option("--name", help="A name.")] = "x") -> None:
    """Do one thing."""
@app.command()
def two(name: Annotated[str, typer.Option("--name", help="A name.")] = "x") -> None:
    """Do another."""
app()
'''


def _environment(home: Path) -> dict[str, str]:
    """Variables of a device that knows nothing of this checkout."""
    kept = {k: v for k, v in CALLER.items() if not k.startswith(("PYTHON", "COMPRESS_"))}
    return {**kept, "HOME": str(home), "COLUMNS": "160", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    shutil.copytree(
        ROOT / "compress", source / "compress", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    built = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = folder.glob("*.whl")
    return found


class Device:
    """A Python environment with the wheel and what it asks for, nothing else."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        self.python = folder / "bin" / "python"

    def run(self, *command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, in an empty folder."""
        finished = subprocess.run(
            list(map(str, command)),
            cwd=self.home,
            env=_environment(self.home),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or finished.returncode == 0, finished.stderr
        assert "Traceback" not in finished.stderr
        return finished

    def compress(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the installed command."""
        return self.run(self.folder / "bin" / "compress", *arguments, check=check)


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Device:
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv/bin/python")
    command = [python, "-m", "pip", "install", "--quiet", "--retries", "1"]
    installed = subprocess.run(
        [*command, "--constraint", str(ROOT / "constraints.txt"), str(wheel)],
        env={**CALLER, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode and "NewConnectionError" in installed.stderr:
        pytest.skip("no network: the packages of a device cannot be installed")
    assert installed.returncode == 0, installed.stderr
    home = folder / "home"
    home.mkdir()
    return Device(folder / "venv", home)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file with its metadata, as a device is sent it."""
    return write_classifier(tmp_path_factory.mktemp("sent") / "model.onnx")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine labelled pictures that the model classifies rightly."""
    return write_folder(tmp_path_factory.mktemp("images"), coloured_images([0, 1, 2] * 3))


def _json(finished: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(finished.stdout)


def test_the_wheel_holds_the_package_and_nothing_beside_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"compress", f"compress_edge-{VERSION}.dist-info"}
    code = {name for name in names if name.startswith("compress/")}
    tree = {
        str(path.relative_to(ROOT))
        for pattern in ("*.py", "*.toml", "*.onnx", "py.typed")
        for path in (ROOT / "compress").rglob(pattern)
    }
    assert code == tree


def test_both_names_of_the_command_are_installed(device: Device) -> None:
    for name in ("compress", "compress-edge"):
        assert device.run(device.folder / "bin" / name, "--version").stdout.endswith(VERSION + "\n")


def test_a_device_gets_nothing_of_the_workstation(device: Device) -> None:
    program = (
        "import importlib.util as u, sys; "
        "print([n for n in sys.argv[1:] if u.find_spec(n) is not None])"
    )
    assert device.run(device.python, "-c", program, *sorted(WORKSTATION)).stdout == "[]\n"


def test_a_device_needs_at_most_200_megabytes(device: Device) -> None:
    (site,) = (device.folder / "lib").glob("python*/site-packages")
    came_with_python = ("pip", "setuptools", "_distutils_hack", "pkg_resources")
    size = sum(
        path.stat().st_size
        for entry in site.iterdir()
        if not entry.name.startswith(came_with_python)
        for path in ([entry] if entry.is_file() else entry.rglob("*"))
        if path.is_file() and not path.is_symlink()
    )
    assert 50e6 < size <= 200e6


def test_bench_times_an_artifact_without_images(device: Device, artifact: Path) -> None:
    record = _json(device.compress("bench", artifact, "--max-seconds", "1", "--json", "-"))
    (model,) = record["models"]
    assert model["parameters"] == 9
    assert model["size_bytes"] == artifact.stat().st_size
    assert 0 < model["p50_ms"] <= model["p90_ms"] <= model["p99_ms"]
    assert model["top1"] is None
    assert model["speedup"] is None
    assert record["environment"]["packages"].keys().isdisjoint({"torch", "onnx"})


def test_bench_measures_accuracy_on_a_folder_of_pictures(
    device: Device, artifact: Path, images: Path
) -> None:
    arguments = ("--data", images, "--max-seconds", "1", "--json", "-")
    (model,) = _json(device.compress("bench", artifact, *arguments))["models"]
    assert model["top1"] == 1.0


def test_bench_shows_a_table(device: Device, artifact: Path) -> None:
    finished = device.compress("bench", artifact, "--max-seconds", "1")
    assert "p50" in finished.stdout
    assert "no accuracy" in finished.stderr


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (("--max-size-kib", "10", "--min-top1", "0.5"), 0),
        (("--max-size-kib", "0.1", "--min-top1", "0.5"), 1),
        ((), 2),
    ],
)
def test_the_gate_judges_an_artifact(
    device: Device, artifact: Path, images: Path, limits: tuple[str, ...], code: int
) -> None:
    finished = device.compress("gate", artifact, "--data", images, *limits, check=False)
    assert finished.returncode == code


def test_check_compares_an_artifact_with_its_golden_answers(
    device: Device, artifact: Path, tmp_path: Path
) -> None:
    shutil.copy(artifact, tmp_path / "model.onnx")
    inputs = coloured_images([0, 1, 2]).images[:]
    expected = runtime.raw_answers(runtime.open_session(artifact), inputs)
    save_golden(tmp_path / "golden.npz", Golden(inputs, np.arange(3), {"fp32": expected}))
    record = _json(device.compress("check", tmp_path, "--json", "-"))
    (row,) = record["rows"]
    assert (row["verdict"], row["images"], row["top1"]) == ("pass", 3, 1.0)


def test_check_proves_nothing_of_a_file_alone(device: Device, artifact: Path) -> None:
    finished = device.compress("check", artifact, check=False)
    assert finished.returncode == 6
    assert "nothing was there to compare its answers with" in finished.stderr


def test_predict_names_the_class_of_a_picture(device: Device, artifact: Path, images: Path) -> None:
    picture = next((images / "test" / "green").glob("*.png"))
    assert "green" in device.compress("predict", artifact, picture).stdout


@pytest.mark.parametrize("package", ["hypothesis", "jsonschema", "tensorboard"])
def test_no_test_is_skipped_for_want_of_a_package(package: str) -> None:
    """Files that import them are skipped without, so that `-m gpu` can do without."""
    assert find_spec(package) is not None


@pytest.mark.parametrize("command", ["train", "distill"])
def test_what_needs_a_workstation_says_how_to_become_one(device: Device, command: str) -> None:
    finished = device.compress(command, check=False)
    assert finished.returncode == 4
    assert finished.stderr.endswith(f"hint: {install_hint('train')}\n")


@pytest.mark.parametrize("command", ["bench", "gate", "check", "predict", "distill", "export"])
def test_every_command_explains_itself_on_a_device(device: Device, command: str) -> None:
    assert f"compress {command}" in device.compress(command, "--help").stdout


def test_help_starts_nearly_as_fast_as_a_bare_program(device: Device, tmp_path: Path) -> None:
    bare = tmp_path / "bare.py"
    bare.write_text(BARE)
    programs = {
        "bare": [device.python, bare, "--help"],
        "compress": [device.folder / "bin" / "compress", "--help"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(15):
        for name, command in programs.items():
            begin = time.perf_counter()
            device.run(*command)
            seconds[name].append(time.perf_counter() - begin)
    # what else runs only ever adds time
    fastest = {name: min(values) for name, values in seconds.items()}
    assert fastest["compress"] <= 1.3 * fastest["bare"], fastest
