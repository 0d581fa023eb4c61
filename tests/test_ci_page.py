"""The workflow in docs/ci.md does what the page says."""

import json
import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest

from compress.config.gate import THRESHOLDS
from tests.conftest import ROOT, RunCli
from tests.tiny_models import coloured_images, write_export, write_folder

PAGE = ROOT / "docs" / "ci.md"


def _commands() -> list[str]:
    (workflow,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return re.findall(r"^ *(?:- )?run: (compress .*)$", workflow, re.MULTILINE)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What the workflow finds: the change, and the branch it goes to."""
    folder = tmp_path / "repository"
    for place in (folder, folder / "before"):
        write_export(place / "all", wrong=0)
        (place / "exported").mkdir()
        (place / "all" / "small").rename(place / "exported" / "student")
    write_folder(folder / "images", coloured_images([0, 1, 2] * 40))
    return folder


def test_the_commands_of_the_workflow_run(run_cli: RunCli, repository: Path) -> None:
    commands = _commands()
    assert [shlex.split(command)[1] for command in commands] == ["gate", "gate", "bench"]
    accuracy, latency, bench = (
        run_cli(*shlex.split(command)[1:], cwd=repository) for command in commands
    )
    assert accuracy.code == 0, accuracy.stderr
    assert bench.code == 0, bench.stderr
    # equal models of microseconds on a busy machine may be told apart by nothing, but are measured
    assert latency.code in {0, 6}, latency.stderr
    assert "measured in" not in latency.stdout
    assert re.search(r"latency-regression +small fp32 +\d\.\d{3}x", latency.stdout)
    suites = [
        ElementTree.parse(repository / name).getroot()[0]
        for name in ("accuracy.xml", "latency.xml")
    ]
    assert [suite.get("failures") for suite in suites] == ["0", "0"]
    assert suites[0].get("errors") == "0"
    assert json.loads((repository / "bench.json").read_text())["models"]


def test_the_readme_shows_a_command_of_the_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^ *- run: (compress .*)$", text, re.MULTILINE)
    assert shown
    assert set(shown) <= set(_commands())


def test_every_limit_is_explained() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in THRESHOLDS:
        assert f"| `{name.replace('_', '-')}` |" in text
