"""The installed command: what it shows, and the code it ends with."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compress import errors
from compress.version import VERSION, install_hint
from tests.conftest import ROOT, RunCli

FAKE = """
import os, sys, types
from compress import errors
from compress.cli import app, output
def fake() -> None:
    {body}
sys.modules["fake"] = types.SimpleNamespace(fake=fake)
app.COMMANDS = {{"fake": "fake:fake"}}
"""
"""Run before the program: its only command is ours."""

MAIN = "from compress.__main__ import main\nmain()"
DELIVER = (
    "output.deliver(types.SimpleNamespace(to_json=lambda: 'null' + ' ' * 1_000_000), "
    "json='-', table=None)"
)
"""A command that writes more than a pipe holds."""

BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""
"""Run before the program: some packages are not installed."""

TRAIN_EXTRA = {"torch", "torchvision", "onnx", "onnxscript", "onnxsim", "safetensors", "sklearn"}


def _command(body: str) -> str:
    return FAKE.format(body=body)


def test_version(run_cli: RunCli) -> None:
    finished = run_cli("--version")
    assert (finished.code, finished.stdout) == (0, f"compress {VERSION}\n")


def test_the_bare_command_shows_the_four_steps_in_order(run_cli: RunCli) -> None:
    finished = run_cli()
    assert finished.code == 0
    steps = re.findall(r"^  \d  compress (\w+)", finished.stdout, re.MULTILINE)
    assert steps == ["distill", "export", "bench", "gate"]


@pytest.mark.parametrize("spelling", ["--help", "-h"])
def test_help_lists_every_command_of_the_contract(run_cli: RunCli, spelling: str) -> None:
    finished = run_cli(spelling)
    assert finished.code == 0
    listed = re.findall(r"^│ ([a-z][a-z-]*) ", finished.stdout, re.MULTILINE)
    assert listed == [
        *("train", "distill", "soft-labels", "export", "bench", "gate"),
        *("check", "predict", "report", "list"),
    ]


def test_a_checkout_has_a_launcher() -> None:
    finished = subprocess.run(
        [sys.executable, ROOT / "cli.py", "--version"], capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stdout) == (0, f"compress {VERSION}\n")


@pytest.mark.parametrize(
    ("arguments", "misspelt"),
    [
        (["destill"], "destill"),
        (["distill", "--tempature", "4"], "--tempature"),
        (["--nope"], "--nope"),
    ],
)
def test_a_misspelling_is_a_usage_error_that_shows_it(
    run_cli: RunCli, arguments: list[str], misspelt: str
) -> None:
    finished = run_cli(*arguments)
    assert finished.code == 2
    assert misspelt in finished.stderr
    assert finished.stdout == ""


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.ConfigError, 2),
        (errors.InputError, 3),
        (errors.MachineError, 4),
        (errors.UnusableError, 5),
        (errors.InconclusiveError, 6),
        (errors.Interrupted, 130),
    ],
)
def test_an_expected_failure_is_two_lines_and_its_code(
    run_cli: RunCli, kind: type[errors.CompressError], code: int
) -> None:
    body = f"raise errors.{kind.__name__}('no such thing: 7', hint='take 8')"
    finished = run_cli("fake", code=_command(body))
    assert finished.code == code
    assert finished.stderr == "error: no such thing: 7\nhint: take 8\n"
    assert finished.stdout == ""


def test_a_failure_without_a_hint_is_one_line(run_cli: RunCli) -> None:
    finished = run_cli("fake", code=_command("raise errors.InputError('a.onnx is missing')"))
    assert finished.stderr == "error: a.onnx is missing\n"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("raise ValueError('shape')", 70, "ValueError: shape"),
        ("import no_such_package", 70, "No module named 'no_such_package'"),
        ("assert False", 70, "this is a bug in compress"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise MemoryError", 4, "not enough memory"),
        ("raise OSError(28, 'No space left on device', 'a.png')", 3, "a.png: No space left"),
        ("raise OSError(13, 'Permission denied', '/x')", 3, "/x: Permission denied"),
        ("raise OSError(5, 'Input/output error')", 70, "Input/output error"),
    ],
)
def test_anything_else_is_told_without_a_traceback(
    run_cli: RunCli, body: str, code: int, said: str
) -> None:
    finished = run_cli("fake", code=_command(body))
    assert finished.code == code
    assert said in finished.stderr
    assert "Traceback" not in finished.stderr


def test_debug_shows_the_traceback(run_cli: RunCli) -> None:
    code = _command("raise errors.InputError('a.onnx is missing')")
    finished = run_cli("--debug", "fake", code=code)
    assert finished.code == 3
    assert "Traceback" in finished.stderr


def test_a_command_may_end_with_a_verdict(run_cli: RunCli) -> None:
    assert run_cli("fake", code=_command("import typer; raise typer.Exit(1)")).code == 1


def test_a_broken_installation_never_looks_like_a_failed_gate(run_cli: RunCli) -> None:
    code = 'from compress.cli import app\napp.COMMANDS["gate"] = "compress.cli.gone:gate"\n'
    finished = run_cli("gate", code=code)
    assert finished.code == 70
    assert "No module named 'compress.cli.gone'" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_installation_without_its_library_never_looks_like_a_failed_gate(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('half installed')\n")
    finished = subprocess.run(
        [sys.executable, "-m", "compress", "gate"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (70, "error: ImportError: half installed\n")


def test_help_shows_defaults_and_other_brackets(run_cli: RunCli) -> None:
    shown = run_cli("distill", "--help").stdout
    assert "[default: auto]" in shown
    assert "else 0.9]" in shown
    assert "\\[" not in shown


@pytest.mark.parametrize("command", ["train", "distill"])
def test_a_missing_extra_is_named_with_the_line_that_installs_it(
    run_cli: RunCli, command: str
) -> None:
    finished = run_cli(command, code=BLOCK.format(names=TRAIN_EXTRA))
    assert finished.code == 4
    last = finished.stderr.splitlines()[-2]
    assert re.fullmatch(r"error: this command needs \w+, which is not installed", last)
    assert finished.stderr.endswith(f"hint: {install_hint('train')}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_with_130(tmp_path: Path, number: signal.Signals) -> None:
    body = "import pathlib, time; pathlib.Path('started').touch(); time.sleep(60)"
    program = f"{_command(body)}\n{MAIN}"
    # a shell that starts the tests in the background makes them and their children ignore SIGINT
    reset = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{reset}\n{program}"
    with subprocess.Popen(
        [sys.executable, "-c", program, "fake"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 30
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "expected"), [(["fake"], 0), (["fake", "--help"], 130)], ids=["command", "help"]
)
def test_a_reader_that_leaves_is_no_failed_gate(
    tmp_path: Path, arguments: list[str], expected: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", f"{_command(DELIVER)}\n{MAIN}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(timeout=60)
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == expected


def _redirected(line: str, body: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of ours as the line of a shell in which `"$@"` stands for it."""
    program = f"{_command(body)}\n{MAIN}"
    return subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "line",
    [
        '"$@" 2>&-',
        '"$@" <&- >&- 2>&-',
        '"$@" 2>/dev/full',
        'PYTHONUNBUFFERED=1 "$@" 2>/dev/full',
    ],
)
@pytest.mark.parametrize(
    ("ending", "arguments", "code"),
    [
        ("assert os.open(os.curdir, os.O_RDONLY) > 2", ["fake"], 0),
        ("raise errors.InconclusiveError('noise')", ["fake"], 6),
        ("raise ValueError('shape')", ["fake"], 70),
        ("pass", ["fake", "--nope"], 2),
    ],
    ids=["done", "failure", "bug", "usage"],
)
def test_the_exit_code_does_not_depend_on_who_hears_the_messages(
    line: str, ending: str, arguments: list[str], code: int
) -> None:
    note = "from compress.render.live import make_progress; make_progress().note('device: cpu')"
    body = f"{note}; {ending}"
    assert _redirected(line, body, *arguments).returncode == code


@pytest.mark.parametrize("arguments", [["fake"], ["fake", "--help"], ["--version"]])
@pytest.mark.parametrize(
    ("line", "code"),
    [('"$@" >/dev/full', 3), ('PYTHONUNBUFFERED=1 "$@" >/dev/full', 3), ('"$@" >&-', 0)],
)
def test_a_result_ends_with_3_on_a_full_disk_and_with_0_where_nobody_wants_it(
    line: str, code: int, arguments: list[str]
) -> None:
    finished = _redirected(line, DELIVER, *arguments)
    assert finished.returncode == code
    assert ("No space left on device" in finished.stderr) == bool(code)
    assert "Traceback" not in finished.stderr


def test_a_full_disk_for_result_and_messages_ends_with_3() -> None:
    assert _redirected('"$@" >/dev/full 2>&1', DELIVER, "fake").returncode == 3


def test_a_broken_installation_ends_with_70_also_where_nobody_hears_it(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('half installed')\n")
    for where in ("2>&-", "2>/dev/full"):
        finished = subprocess.run(
            ["sh", "-c", f'"$@" {where}', "sh", sys.executable, "-m", "compress", "gate"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            check=False,
        )
        assert finished.returncode == 70
