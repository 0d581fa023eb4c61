"""`compress soft-labels` as a user types it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import call_program
from tests.trained_run import exported_workspace

ARGUMENTS = ("--image-size", "8", "--soft-labels", "answers", "--amp", "off")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a teacher's weights and two views of its answers."""
    folder = tmp_path_factory.mktemp("answers")
    shutil.copy(exported_workspace() / "teacher.safetensors", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        arguments = ("--teacher", "teacher.safetensors", "--views", "2", "--json", "first.json")
        finished = call_program("soft-labels", *ARGUMENTS, *arguments)
        assert finished.code == 0, finished.stderr
        yield folder


def test_views_are_filled_and_counted(place: Path) -> None:
    record = json.loads((place / "first.json").read_text())
    assert (record["filled"], record["found"]) == (2, 0)
    (stored,) = record["sets"]
    assert stored["views"] == 2
    assert stored["top1"] > 0.5


def test_what_is_there_is_not_computed_again(place: Path) -> None:
    arguments = ("--teacher", "teacher.safetensors", "--views", "3", "--json", "-")
    finished = call_program("soft-labels", *ARGUMENTS, *arguments)
    record = json.loads(finished.stdout)
    assert (record["filled"], record["found"]) == (1, 2)


def test_quiet_says_nothing_but_the_result(place: Path) -> None:
    arguments = ("--teacher", "teacher.safetensors", "--views", "1", "--view-seed", "9")
    finished = call_program("soft-labels", *ARGUMENTS, *arguments, "--json", "-", "--quiet")
    assert json.loads(finished.stdout)["filled"] == 1
    assert finished.stderr == ""


def test_students_learn_from_the_folder_without_any_teacher(place: Path) -> None:
    arguments = ("--epochs", "2", "--views", "2", "--student", "small_cnn", "--no-control")
    finished = call_program("distill", *ARGUMENTS, *arguments, "--json", "-")
    assert finished.code == 0, finished.stderr
    record = json.loads(finished.stdout)
    assert record["soft_labels"] == "stored"
    assert len(list(place.glob("runs/*"))) == 1


def test_a_view_that_is_not_stored_ends_with_3(place: Path) -> None:
    arguments = ("--epochs", "9", "--student", "small_cnn", "--no-control", "--view-seed", "7")
    finished = call_program("distill", *ARGUMENTS, *arguments)
    assert finished.code == 3
    assert "view" in finished.stderr


def test_an_empty_folder_teaches_nothing(place: Path) -> None:
    arguments = ("--image-size", "8", "--soft-labels", "nothing", "--student", "small_cnn")
    finished = call_program("distill", *arguments)
    assert finished.code == 3
    assert "nothing" in finished.stderr
