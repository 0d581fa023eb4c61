"""`compress distill` as a user types it, from nothing to students."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Finished, call_program, run_program

RECIPE = """
[data]
data = "digits"
image_size = 8
[train]
model = "small_cnn"
epochs = 2
learning_rate = 0.2
[distill]
student = ["tiny=small_cnn"]
epochs = 2
learning_rate = 0.2
seeds = [3, 4]
"""
FIELDS = {
    *("label", "model", "seed", "role", "top1", "val_top1", "last_top1", "train_top1"),
    *("kd_gain", "kd_gain_low", "kd_gain_high", "agreement", "ece", "parameters", "macs"),
    "seconds",
}
"""What the command contract promises of every student."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distill")
    (folder / "mine.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def first(place: Path) -> Finished:
    """One call in an empty folder: no run, no teacher."""
    cache = {"COMPRESS_CACHE": str(place / "cache")}
    arguments = ("--recipe", "mine.toml", "--seed", "5", "--json", "-")
    return run_program("distill", *arguments, cwd=place, env=cache)


@pytest.fixture
def again(document: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """Further calls in the same folder, inside this process."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("COMPRESS_CACHE", str(place / "cache"))
    return lambda *arguments: call_program("distill", "--recipe", "mine.toml", *arguments)


@pytest.fixture(scope="module")
def document(first: Finished) -> Any:
    assert first.code == 0, first.stderr
    return json.loads(first.stdout)


def test_json_is_all_of_stdout_and_holds_what_the_contract_says(document: Any) -> None:
    assert document["schema"] == 1
    assert document["environment"]["packages"]["torch"]
    assert document["teacher"].keys() >= {"name", "top1"}
    assert len(document["students"]) == 2
    for row in document["students"]:
        assert row.keys() >= FIELDS


def test_a_student_has_its_control_and_a_gain(document: Any) -> None:
    rows = {row["label"]: row for row in document["students"]}
    assert set(rows) == {"tiny", "tiny-control"}
    student, control = rows["tiny"], rows["tiny-control"]
    assert (student["role"], control["role"]) == ("student", "control")
    assert student["kd_gain"] == pytest.approx(student["top1"] - control["top1"])
    assert student["kd_gain_low"] <= student["kd_gain"] <= student["kd_gain_high"]
    assert control["kd_gain"] is None


def test_a_flag_overrides_the_recipe(document: Any) -> None:
    assert {row["seed"] for row in document["students"]} == {5}


def test_a_missing_teacher_is_trained_first_and_that_is_said(
    first: Finished, document: Any, place: Path
) -> None:
    assert "no complete run of small_cnn" in first.stderr
    manifests = [json.loads(p.read_text()) for p in place.glob("runs/*/manifest.json")]
    assert sorted(m["command"] for m in manifests) == ["distill", "train"]
    assert {m["status"] for m in manifests} == {"complete"}
    assert document["teacher"]["name"] == "small_cnn"


def test_the_next_step_is_named(first: Finished, document: Any) -> None:
    assert f"next: compress export runs/{document['run']}" in first.stderr


def test_last_is_the_students_run_not_the_teachers(document: Any, place: Path) -> None:
    listed = json.loads(run_program("list", "runs", "--json", "-", cwd=place).stdout)
    assert listed["entries"][0]["run"] == document["run"]


def test_curves_predictions_and_weights_are_saved(document: Any, place: Path) -> None:
    run = place / "runs" / document["run"]
    for name in (
        *("students/tiny.safetensors", "students/tiny.last.safetensors"),
        *("students/tiny-control.safetensors", "predictions/tiny.npz", "epochs.jsonl"),
    ):
        assert (run / name).stat().st_size > 0
    assert list((run / "plots").glob("*.png"))


def test_the_same_command_shows_the_finished_run_and_changes_nothing(
    document: Any, place: Path, again: Callable[..., Finished]
) -> None:
    run = place / "runs" / document["run"]
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*.safetensors")}
    finished = again("--seed", "5")
    assert finished.code == 0
    assert "is complete; --restart distils anew" in finished.stderr
    assert "tiny-control" in finished.stdout
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*.safetensors")} == before


def test_quiet_says_nothing_but_the_result(document: Any, again: Callable[..., Finished]) -> None:
    finished = again("--seed", "5", "--quiet", "--json", "-")
    assert finished.stderr == ""
    assert json.loads(finished.stdout)["run"] == document["run"]


def test_the_teacher_of_an_earlier_run_is_taken_up(
    place: Path, again: Callable[..., Finished]
) -> None:
    finished = again("--seed", "6", "--no-control", "--json", "-")
    assert finished.code == 0, finished.stderr
    (row,) = json.loads(finished.stdout)["students"]
    assert row["kd_gain"] is None
    assert len(list(place.glob("runs/*/manifest.json"))) == 3


def test_a_student_that_diverges_ends_with_5_and_leaves_the_others_complete(
    document: Any, place: Path, again: Callable[..., Finished]
) -> None:
    """Also when the finished run is shown again."""
    swept = ("--seed", "5", "--sweep", "learning_rate=0.2,1e30", "--run-dir", "swept")
    for shown in (again(*swept), again(*swept, "--json", "-")):
        assert shown.code == 5, shown.stderr
        assert "tiny-lr1e+30 diverged in epoch 1: the loss is not finite" in shown.stderr
        assert "the run swept is complete without" in " ".join(shown.stderr.split())
    assert "next: compress export swept" in shown.stderr
    told = json.loads(shown.stdout)
    assert [row["label"] for row in told["students"]] == ["tiny-lr0.2", "tiny-control-lr0.2"]
    assert [row["label"] for row in told["diverged"]] == ["tiny-lr1e+30", "tiny-control-lr1e+30"]
    assert told["students"][0]["kd_gain"] is not None
    assert json.loads((place / "swept" / "manifest.json").read_text())["status"] == "complete"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_130_after_the_epoch_is_saved(
    document: Any, place: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "compress", "distill", "--recipe", "mine.toml"]
    folder = place / f"stopped-{number}"
    arguments = ["--epochs", "500", "--seed", "5", "--run-dir", folder.name]
    with subprocess.Popen(
        [*command, *arguments],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not (folder / "epochs.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        out, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert out == ""
    assert "stopping after this epoch is saved" in said
    assert "Traceback" not in said
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    assert (folder / "last.pt").is_file()
