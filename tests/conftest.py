"""Fixtures of every test: an isolated machine, the installed command, and the real data."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
OFFICIAL = sorted(path.parent for path in (ROOT / "exported" / "official").glob("*/manifest.json"))
CALLER = dict(os.environ)
"""The environment the tests were started in, for the few that need the real one."""

FROM_OUTSIDE = (
    *("COMPRESS_DATA", "COMPRESS_TEACHERS", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"),
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCH_HOME"),
    *("COLUMNS", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "TERMINAL_WIDTH"),
)
"""Variables of a shell, a CI job or torchrun that change what commands do or show."""

if "PYTEST_XDIST_WORKER" in os.environ:
    # one process per core: more threads than cores would wait for each other
    os.environ["OMP_NUM_THREADS"] = "1"


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    stdout: str
    stderr: str


RunCli = Callable[..., Finished]


@pytest.fixture(scope="session", autouse=True)
def _private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from or written to the home of whoever runs the tests."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
        # one font cache for all: matplotlib takes seconds to build it
        patch.setenv("MPLCONFIGDIR", str(home / "matplotlib"))
        # fixtures of whole modules come before the cache that each test has to itself
        patch.setenv("COMPRESS_CACHE", str(home / "compress"))
        for variable in FROM_OUTSIDE:
            patch.delenv(variable, raising=False)
        yield


@pytest.fixture(autouse=True)
def _private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own soft labels and speed trials."""
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, where `runs/` and `exported/` would appear."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run_program(
    *arguments: object,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    code: str | None = None,
    timeout: float = 300,
) -> Finished:
    """Run the installed command in a process of its own.

    Args:
        arguments: What follows `compress`.
        cwd: Its working directory.
        env: Variables added to those of the tests.
        code: Python run before the command, in its process.
        timeout: In seconds.
    """
    start = ["-m", "compress"]
    if code is not None:
        start = ["-c", f"{code}\nfrom compress.__main__ import main\nmain()\n"]
    finished = subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Finished(finished.returncode, finished.stdout, finished.stderr)


@pytest.fixture
def run_cli(tmp_path: Path) -> RunCli:
    """`run_program`, in an empty folder unless told."""

    def run(*arguments: object, cwd: Path | None = None, **options: Any) -> Finished:
        folder = cwd or tmp_path / "command"
        folder.mkdir(exist_ok=True)
        return run_program(*arguments, cwd=folder, **options)

    return run


@cache
def program() -> typer.Typer:
    """The program with its commands, registered once."""
    from compress.cli.app import app, register

    register()
    return app


def call_program(*arguments: object) -> Finished:
    """Run a command inside this process, which has imported everything before: quick."""
    result = CliRunner().invoke(program(), [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Finished(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def invoke() -> RunCli:
    """`call_program`."""
    return call_program


def _from_caller(variable: str, what: str) -> Path:
    """A folder named by a variable of the caller, or a skip that says what is missing."""
    value = CALLER.get(variable)
    if not value:
        pytest.skip(f"${variable} is not set: it names the folder of {what}")
    folder = Path(value).resolve()
    if not folder.is_dir():
        pytest.fail(f"${variable} is {value}, which is no folder")
    return folder


@pytest.fixture(scope="session")
def cifar_dir() -> Path:
    """Folder with `cifar-10-batches-bin` and `cifar-100-binary`."""
    return _from_caller("COMPRESS_DATA", "CIFAR in its official binary layout")


@pytest.fixture(scope="session")
def teacher_file() -> Path:
    """Weights of the published ResNet-56 with 93.39% on CIFAR-10."""
    folder = _from_caller("COMPRESS_TEACHERS", "resnet56-cifar10.safetensors")
    return folder / "resnet56-cifar10.safetensors"
