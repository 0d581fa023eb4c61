"""`compress list` as a user types it."""

import json
from pathlib import Path

import pytest

from tests.conftest import RunCli
from tests.fake_run import make_run


@pytest.mark.parametrize("what", ["losses", "data", "recipes", "runs", "soft-labels"])
def test_every_list_can_be_shown(run_cli: RunCli, what: str) -> None:
    finished = run_cli("list", what)
    assert (finished.code, finished.stderr) == (0, "")
    assert finished.stdout.strip()


def test_json_goes_to_standard_output_alone(run_cli: RunCli, tmp_path: Path) -> None:
    make_run(tmp_path / "here" / "runs" / "one")
    finished = run_cli("list", "runs", "--json", "-", cwd=tmp_path / "here")
    assert finished.code == 0
    document = json.loads(finished.stdout)
    assert document["what"] == "runs"
    assert [entry["run"] for entry in document["entries"]] == ["one"]


def test_an_unknown_list_names_the_known_ones(run_cli: RunCli) -> None:
    finished = run_cli("list", "modles")
    assert finished.code == 2
    assert "unknown list 'modles'" in finished.stderr
    assert "models, recipes, runs, soft-labels" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_runs_and_recipes_are_listed_without_torch(run_cli: RunCli) -> None:
    block = "import sys\nsys.modules['torch'] = None\nsys.modules['safetensors'] = None\n"
    for what in ("runs", "recipes"):
        assert run_cli("list", what, code=block).code == 0
