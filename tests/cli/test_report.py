"""`compress report` as a user types it."""

import json
from pathlib import Path

import pytest

from compress.version import install_hint
from tests.conftest import RunCli
from tests.fake_run import make_run


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working directory with one finished run."""
    make_run(tmp_path / "here" / "runs" / "one")
    return tmp_path / "here"


def test_the_pages_are_written_and_named(run_cli: RunCli, here: Path) -> None:
    finished = run_cli("report", "last", cwd=here)
    assert finished.code == 0, finished.stderr
    for name in ("report.html", "report.md"):
        assert f"runs/one/report/{name}" in finished.stdout
        assert (here / "runs" / "one" / "report" / name).is_file()
    assert "sample images are left out" in finished.stderr


def test_the_record_is_the_only_output_with_json(run_cli: RunCli, here: Path) -> None:
    finished = run_cli("report", "one", "--out", "page", "--json", "-", "--quiet", cwd=here)
    assert (finished.code, finished.stderr) == (0, "")
    document = json.loads(finished.stdout)
    assert document["folder"] == "page"
    assert document["runs"][0]["result"]["run"] == "one"
    assert (here / "page" / "report.html").is_file()


def test_a_run_that_is_nowhere_ends_with_3(run_cli: RunCli, here: Path) -> None:
    finished = run_cli("report", "other", cwd=here)
    assert finished.code == 3
    assert "no run 'other'" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_place_that_cannot_be_written_ends_with_3(run_cli: RunCli, here: Path) -> None:
    (here / "page").write_text("in the way")
    finished = run_cli("report", "one", "--out", "page", cwd=here)
    assert finished.code == 3
    assert "cannot write page" in finished.stderr


def test_without_matplotlib_the_line_that_installs_it_is_shown(run_cli: RunCli, here: Path) -> None:
    block = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""
    finished = run_cli("report", "one", cwd=here, code=block)
    assert finished.code == 4
    assert install_hint("train") in finished.stderr
