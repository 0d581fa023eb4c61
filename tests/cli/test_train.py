"""`compress train` as a user types it."""

import json
from pathlib import Path
from typing import Any

import pytest

from compress.cli import drawing
from tests.conftest import Finished, call_program, run_program

QUICK = ("--model", "small_cnn", "--image-size", "8", "--epochs", "1", "--seeds", "0,1")


def _train(place: Path, *arguments: object) -> Finished:
    cache = {"COMPRESS_CACHE": str(place / "cache")}
    return run_program("train", *QUICK, *arguments, cwd=place, env=cache)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def first(place: Path) -> Finished:
    return _train(place, "--run-dir", "mine", "--json", "result.json")


@pytest.fixture(scope="module")
def document(first: Finished, place: Path) -> Any:
    assert first.code == 0, first.stderr
    return json.loads((place / "result.json").read_text())


def test_a_model_is_trained_for_every_seed(document: Any) -> None:
    assert [(row["label"], row["seed"]) for row in document["models"]] == [
        ("small_cnn-s0", 0),
        ("small_cnn-s1", 1),
    ]
    assert all(0 < row["top1"] <= 1 for row in document["models"])


def test_a_json_file_comes_beside_the_table(first: Finished, document: Any) -> None:
    assert "small_cnn-s1" in first.stdout
    assert document["schema"] == 1


def test_without_a_terminal_progress_is_one_plain_line_per_epoch(first: Finished) -> None:
    lines = [line for line in first.stderr.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["1/1"]
    assert "\x1b" not in first.stderr


def test_the_next_step_is_named(first: Finished) -> None:
    said = "next: compress distill --teacher mine:student=small_cnn-s0 --image-size 8"
    assert said in first.stderr.splitlines()


def test_a_run_begun_with_other_options_is_refused_and_left_alone(
    document: Any, place: Path
) -> None:
    before = (place / "mine" / "manifest.json").read_bytes()
    finished = call_program("train", *QUICK, "--run-dir", place / "mine", "--batch-size", "32")
    assert finished.code == 2
    assert "--batch-size is" in finished.stderr
    assert (place / "mine" / "manifest.json").read_bytes() == before


def test_a_run_is_named_to_go_on_and_begun_anew_only_where_that_is_said(
    workspace: Path,
) -> None:
    asked = (*QUICK[:-2], "--run-dir", "r", "--augment", "flip=true")
    assert call_program("train", *asked).code == 0
    manifest = workspace / "r" / "manifest.json"
    assert json.loads(manifest.read_text())["config"]["augmentation"]["flip"] is True
    weights = workspace / "r" / "students" / "small_cnn.safetensors"
    written = weights.stat().st_mtime_ns
    resumed = call_program("train", "--resume", "r")
    assert (resumed.code, weights.stat().st_mtime_ns) == (0, written)
    refused = call_program("train", "--resume", "r", "--batch-size", 32)
    assert refused.code == 2
    assert "--batch-size is" in refused.stderr
    assert call_program("train", *asked, "--restart").code == 0
    assert weights.stat().st_mtime_ns > written


def test_event_files_grow_while_a_model_is_trained_and_end_with_its_test_accuracy(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def read() -> dict[str, list[int]]:
        files = accumulators.EventAccumulator(str(workspace / "mine" / "tensorboard" / "small_cnn"))
        files.Reload()
        tags = ("top1/validation", "top1/test")
        known = [tag for tag in tags if tag in files.Tags()["scalars"]]
        return {tag: [event.step for event in files.Scalars(tag)] for tag in known}

    trained = []

    def look_and_draw(*arguments: Any, **options: Any) -> None:
        trained.append(read())
        draw(*arguments, **options)

    draw = drawing.draw
    monkeypatch.setattr(drawing, "draw", look_and_draw)
    asked = (*QUICK[:-2], "--epochs", "2", "--run-dir", "mine", "--tensorboard")
    for _ in range(2):
        assert call_program("train", *asked).code == 0
    ended = read()
    assert trained == [{"top1/validation": [1, 2]}, ended]
    assert ended["top1/validation"] == [1, 2]
    assert len(ended["top1/test"]) == 1


def test_other_ranks_of_torchrun_tell_nothing_and_draw_nothing(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    ended = call_program("train", *QUICK[:-2], "--run-dir", "mine")
    assert (ended.code, ended.stdout, ended.stderr) == (0, "", "")
    assert (workspace / "mine" / "record.json").is_file()
    assert not (workspace / "mine" / "plots").exists()
