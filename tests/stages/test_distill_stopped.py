"""`compress distill` that is told to stop while it trains its teacher."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from compress.config.distill import DistillConfig
from compress.errors import Interrupted
from compress.runs import read_manifest
from compress.stages.distill import distill
from tests.notes import Notes
from tests.tiny_stages import Disturbed, place, tiny_distill, train_config


@pytest.fixture(autouse=True)
def _here(tmp_path: Path) -> Iterator[None]:
    with place(tmp_path / "here"):
        yield


def asked() -> DistillConfig:
    """Students of a teacher that is trained first, for two epochs of ten steps."""
    config = tiny_distill(control=False, epochs=1, run_dir="run")
    return config.model_copy(update={"teacher_training": train_config()})


def test_a_signal_in_the_teachers_last_epoch_trains_no_students() -> None:
    stopped = Disturbed(15)
    with pytest.raises(Interrupted, match="stopped after the teacher's training") as caught:
        distill(asked(), progress=stopped)
    assert caught.value.exit_code == 130
    assert [task for task in stopped.started if "epoch" in task] == [
        "epoch 1/2: 10 step",
        "epoch 2/2: 10 step",
    ]
    teacher = next(Path("runs").iterdir())
    assert read_manifest(teacher).status == "complete"
    assert read_manifest(Path("run")).status == "interrupted"

    notes = Notes()
    distill(asked(), progress=notes)
    assert f"teacher: {teacher}, the newest complete run" in notes.text
    assert read_manifest(Path("run")).status == "complete"


def test_a_signal_in_an_earlier_epoch_of_the_teacher_stops_there() -> None:
    with pytest.raises(Interrupted, match="stopped after epoch 1 of 2"):
        distill(asked(), progress=Disturbed(5))
    notes = Notes()
    distill(asked(), progress=notes)
    assert "resuming after epoch 1" in notes.text
    assert read_manifest(Path("run")).status == "complete"
