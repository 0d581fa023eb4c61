"""`compress distill` that is stopped, or finds another process, where it trains its teacher."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.config.distill import DistillConfig
from compress.data import registry as data
from compress.data.images import Splits
from compress.data.registry import load
from compress.errors import Interrupted
from compress.runs import Run, read_manifest
from compress.stages import distill_teacher
from compress.stages.distill import distill
from compress.stages.distill_teacher import teacher_training
from compress.stages.train import train
from compress.stages.training_run import as_asked, run_folder
from compress.training.teachers import Teacher
from tests.notes import Notes
from tests.tiny_stages import Disturbed, place, tiny_distill, train_config
from tests.tiny_training import Killed, trained_teacher_file


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


def test_a_teacher_trained_first_keeps_its_number_of_threads_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have begun on a machine with fewer cores, and the students have not begun."""
    before = torch.get_num_threads()

    def with_its_own(*arguments: Any, **options: Any) -> Any:
        record = train(*arguments, **options)
        torch.set_num_threads(before + 1)
        return record

    monkeypatch.setattr(distill_teacher, "train", with_its_own)
    distill(asked())
    assert read_manifest(Path("run")).choices["threads"] == before


@pytest.mark.parametrize(
    ("students", "teachers", "times"), [("data", "data", 1), ("imagenet", "data", 2)]
)
def test_images_are_read_once_for_a_teacher_and_its_students(
    students: str, teachers: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless their mean and deviation must be measured once more."""
    read: list[str] = []

    def counted(name: str, **options: Any) -> Splits:
        read.append(name)
        return load(name, **options)

    monkeypatch.setattr(data, "load", counted)
    training = train_config().model_copy(update={"normalization": teachers})
    config = asked().model_copy(update={"normalization": students, "teacher_training": training})
    distill(config)
    assert read == ["digits"] * times


class Dying(Disturbed):
    """Progress during which the process is killed instead."""

    def advance(self, amount: int = 1, *, images: int = 0, **figures: float) -> None:
        """Die at the first step of a training."""
        if self._training and amount:
            raise Killed


def test_after_a_kill_in_the_teachers_training_resume_last_means_the_students() -> None:
    config = asked().model_copy(update={"run_dir": None})
    with pytest.raises(Killed):
        distill(config, progress=Dying(0))
    made = {read_manifest(run).command: run for run in Path("runs").iterdir()}
    soon = time.time() + 60
    os.utime(made["train"] / "lock", (soon, soon))  # a killed process renews nothing
    flags = {"resume": "last"}
    record = distill(tiny_distill(**flags), flags=flags)
    assert record.run == made["distill"].name
    assert read_manifest(made["train"]).status == "complete"


def test_a_signal_in_an_earlier_epoch_of_the_teacher_stops_there() -> None:
    with pytest.raises(Interrupted, match="stopped after epoch 1 of 2"):
        distill(asked(), progress=Disturbed(5))
    notes = Notes()
    distill(asked(), progress=notes)
    assert "resuming after epoch 1" in notes.text
    assert read_manifest(Path("run")).status == "complete"


class Waiting(Notes):
    """Progress that does something once it hears of waiting for another process."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__()
        self._then = then

    def note(self, text: str) -> None:
        """Act at the word."""
        super().note(text)
        if "waiting for it to end" in text:
            self._then()


def teacher_held() -> Run:
    """The run of the teacher that is trained first, as another process holds it."""
    training = teacher_training(asked())
    name, folder = run_folder(training, training.model.name)
    return Run.open(folder, id=name, command="train", config=as_asked(training))


def test_a_teacher_that_another_process_trains_is_waited_for() -> None:
    """The other one was begun at the same time; here it stops, and this one goes on."""
    other = teacher_held()
    notes = Waiting(other.close)
    distill(asked(), progress=notes)
    assert f"another process is working in {other.folder}: waiting" in notes.text
    assert read_manifest(other.folder).status == "complete"
    assert read_manifest(Path("run")).status == "complete"


def test_waiting_for_another_process_can_be_stopped() -> None:
    other = teacher_held()
    with pytest.raises(Interrupted, match="stopped while waiting for runs/") as caught:
        distill(asked(), progress=Waiting(lambda: os.kill(os.getpid(), signal.SIGINT)))
    other.close()
    assert caught.value.exit_code == 130
    assert read_manifest(Path("run")).status == "interrupted"


def test_the_teachers_time_in_earlier_processes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    trained_teacher_file(Path("teacher.safetensors"))
    config = tiny_distill(teacher=["teacher.safetensors"], control=False, epochs=2, run_dir="run")
    with monkeypatch.context() as patch:
        patch.setattr(Teacher, "seconds", 1000.0)
        with pytest.raises(Interrupted, match="stopped after epoch 1 of 2"):
            distill(config, progress=Disturbed(5))
    assert 1000 < distill(config, progress=Notes()).teacher.seconds < 1100
