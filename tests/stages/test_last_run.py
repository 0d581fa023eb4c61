"""What `last` means for a command that makes a run itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compress.errors import ConfigError, InputError
from compress.records.distill import DistillRecord
from compress.runs import read_manifest
from compress.stages.distill import distill
from compress.stages.train import train
from tests.tiny_stages import begun, distill_flags, place, taught, tiny_distill, train_config
from tests.tiny_training import trained_teacher_file


@pytest.fixture(autouse=True)
def _here(tmp_path: Path) -> Iterator[None]:
    with place(tmp_path):
        yield


def trained(name: str, learning_rate: float) -> None:
    """A teacher of one epoch, the newest run."""
    train(train_config(run_dir=f"runs/{name}", epochs=3, learning_rate=learning_rate))


def teacher_of(record: DistillRecord) -> str:
    """The weights a run learned from."""
    return str(read_manifest(Path("runs") / record.run).choices["teacher"][0]["path"])


def test_last_means_another_run_after_another_was_made() -> None:
    trained("one", 0.1)
    first = taught(teacher=["last"])
    assert taught(teacher=["last"]) == first  # though the newest run is now its own
    trained("two", 0.2)
    second = taught(teacher=["last"])
    assert taught(teacher=["last"]) == second != first
    assert (teacher_of(first), teacher_of(second)) == (
        "runs/one/students/small_cnn.safetensors",
        "runs/two/students/small_cnn.safetensors",
    )
    assert taught(teacher=["runs/one"]) == first


def test_last_is_never_the_run_it_is_asked_for() -> None:
    trained("one", 0.1)
    begun(teacher=["last"], run_dir="runs/mine")
    flags = distill_flags(resume="mine", teacher=["last"])
    record = distill(tiny_distill(resume="mine", teacher=["last"], control=False), flags=flags)
    assert teacher_of(record) == "runs/one/students/small_cnn.safetensors"
    assert taught(teacher=["last"], run_dir="runs/mine") == record
    trained("two", 0.2)
    with pytest.raises(ConfigError, match=r"--teacher is .*runs/one.* in the run, .*runs/two"):
        taught(teacher=["last"], run_dir="runs/mine")


def test_last_is_refused_where_there_is_no_run() -> None:
    with pytest.raises(InputError, match="no run under runs/"):
        taught(teacher=["last"])
    assert not Path("runs").exists()


def test_the_newest_run_is_taught_on_and_so_is_the_one_after_it() -> None:
    trained_teacher_file(Path("teacher.safetensors"))
    trained("one", 0.1)
    asked: dict[str, Any] = {"teacher": ["teacher.safetensors"], "initial_weights": "last"}
    first = taught(**asked)
    assert first.initial_weights == "runs/one"
    assert taught(**asked) == first  # though the newest run is now its own
    trained("two", 0.2)
    second = taught(**asked)
    assert second.initial_weights == "runs/two"


def test_train_goes_on_from_the_newest_run() -> None:
    trained("one", 0.1)
    first = train(train_config(initial_weights="last", epochs=1))
    assert first.initial_weights == "runs/one"
    assert train(train_config(initial_weights="last", epochs=1)) == first
    assert train(train_config(epochs=1)).initial_weights is None
