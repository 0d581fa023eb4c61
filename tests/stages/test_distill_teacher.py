"""The ways of a run of `distill` to its teacher: stored answers alone, a pinned one, a lost one."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compress.errors import ConfigError, InputError, Interrupted
from compress.models import weights
from compress.records.distill import DistillRecord
from compress.runs import read_manifest
from compress.stages.distill import distill
from compress.training.soft_labels import make_room
from compress.training.teachers import Teacher
from tests.notes import Notes
from tests.tiny_stages import Disturbed, files, place, store_answers, tiny_distill
from tests.tiny_training import trained_teacher_file

TEACHER = "teacher.safetensors"
OTHER = "other.safetensors"
LABELS = Path("labels")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of two teachers and the first one's answers to two views."""
    with place(tmp_path_factory.mktemp("prepared")) as folder:
        read = weights.load(trained_teacher_file(Path(TEACHER)), {})
        other = {name: value * 1.01 for name, value in read.state.items()}
        weights.save(Path(OTHER), other, read.header)
        store_answers(TEACHER, LABELS)
    return folder


@pytest.fixture(autouse=True)
def _here(prepared: Path, tmp_path: Path) -> Iterator[None]:
    shutil.copytree(prepared, tmp_path / "here", ignore=shutil.ignore_patterns("cache"))
    with place(tmp_path / "here"):
        yield


def taught(progress: Any = None, **changes: Any) -> DistillRecord:
    """One student of the stored labels, no control."""
    asked = {"control": False, "soft_labels": "labels", "run_dir": "run", **changes}
    return distill(tiny_distill(**asked), progress=progress or Notes())


def begun(**changes: Any) -> None:
    """A run that was stopped after its first epoch."""
    with pytest.raises(Interrupted):
        taught(progress=Disturbed(3), **changes)


def the_store() -> Path:
    """The folder of the first teacher's answers."""
    return next(LABELS.iterdir())


def in_bfloat16(folder: Path) -> None:
    """Let a description say what the number format of the answers costs."""
    path = folder / "teacher.json"
    described = json.loads(path.read_text())
    described |= {"number_format": "bfloat16", "format_agreement": 0.998}
    path.write_text(json.dumps({**described, "format_probability_error": 0.0003}))


def damage(path: Path) -> None:
    """Lose a file's end."""
    path.write_bytes(path.read_bytes()[:-2])


def test_stored_labels_are_all_it_takes() -> None:
    named = taught(run_dir="with", teacher=[TEACHER])
    Path(TEACHER).unlink()
    notes = Notes()
    record = taught(run_dir="without", progress=notes)
    assert files(Path("without")) == files(Path("with"))
    assert f"soft labels {the_store().name}, views in float32; nothing else is" in notes.text
    assert record.teacher == named.teacher.model_copy(update={"seconds": 0.0})
    inputs = read_manifest(Path("without")).inputs
    assert inputs.keys() == {"data", "test images", "teacher"}
    assert record.run == "without"


def test_the_record_says_what_the_number_format_of_the_views_costs() -> None:
    in_bfloat16(the_store())
    notes = Notes()
    teacher = taught(progress=notes).teacher
    assert "views in bfloat16" in notes.text
    assert teacher.number_format == "bfloat16"
    assert (teacher.format_agreement, teacher.format_probability_error) == (0.998, 0.0003)


def test_no_labels_are_an_input_error() -> None:
    with pytest.raises(InputError, match="no soft labels for digits in nothing"):
        taught(soft_labels="nothing")


def test_labels_of_several_teachers_are_listed() -> None:
    first = the_store().name
    store_answers(OTHER, LABELS, views=1)
    with pytest.raises(ConfigError, match="of several teachers or number formats") as caught:
        taught()
    assert f"{first} (float32, 2 of 2 views)" in caught.value.message
    assert "(float32, 1 of 2 views)" in caught.value.message


def test_a_run_goes_on_with_its_labels_when_others_have_joined_them() -> None:
    taught(run_dir="whole")
    begun()
    store_answers(OTHER, LABELS)
    taught()
    assert files(Path("run")) == files(Path("whole"))


def test_who_answered_no_view_of_the_run_is_not_meant() -> None:
    store = the_store()
    taught(run_dir="features", teacher=[OTHER], loss=["fitnet"], epochs=1)
    shutil.copytree(store, LABELS / "other-format", ignore=shutil.ignore_patterns("views"))
    in_bfloat16(LABELS / "other-format")
    assert len(list(LABELS.iterdir())) == 3
    taught()
    assert read_manifest(Path("run")).choices["soft labels"] == store.name


def test_missing_views_are_counted_before_anything_is_trained() -> None:
    with pytest.raises(InputError, match="answers to 2 of 4 views are missing: 2, 3"):
        taught(epochs=9, views=4)
    assert not Path("run/last.pt").exists()


def test_a_damaged_view_is_found_before_anything_is_trained_and_can_be_filled_again() -> None:
    view = next(the_store().glob("views/*"))
    damage(view)
    with pytest.raises(InputError, match=r"answers to 1 of 2 views are damaged: [01]$") as caught:
        taught()
    assert "compress soft-labels --teacher … --soft-labels labels --views 2" in caught.value.hint
    assert not Path("run/last.pt").exists()
    store_answers(TEACHER, LABELS)
    taught()


@pytest.mark.parametrize("missing", [True, False])
def test_an_evaluation_that_is_not_whole_is_found_before_anything_is_trained(
    missing: bool,
) -> None:
    evaluation = the_store() / "evaluation.safetensors"
    if missing:
        evaluation.unlink()
    else:
        damage(evaluation)
    how = "missing" if missing else "damaged"
    with pytest.raises(InputError, match=rf"evaluation\.safetensors is {how}") as caught:
        taught()
    assert "compress soft-labels --teacher" in caught.value.hint
    assert not Path("run/last.pt").exists()
    store_answers(TEACHER, LABELS)
    taught()


def test_labels_are_in_use_from_when_they_are_found() -> None:
    removed: list[Path] = []

    class MakingRoom(Notes):  # as another run would, after each note
        def note(self, text: str) -> None:
            if text.startswith(("teacher", "students")):
                removed.extend(make_room(LABELS, 0))

    taught(run_dir="a", progress=MakingRoom())
    taught(run_dir="b", progress=MakingRoom(), teacher=[TEACHER])
    begun(run_dir="c", teacher=[TEACHER])
    Path(TEACHER).unlink()
    taught(run_dir="c", progress=MakingRoom(), teacher=[TEACHER])
    assert removed == []
    assert len(make_room(LABELS, 0)) == 2


def test_losses_on_features_need_more_than_stored_labels() -> None:
    with pytest.raises(ConfigError, match="needs the teacher itself"):
        taught(loss=["fitnet"])


def test_a_run_whose_teacher_is_gone_goes_on_where_all_its_answers_are_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taught(run_dir="whole", teacher=[TEACHER])
    with monkeypatch.context() as patch:
        patch.setattr(Teacher, "seconds", 1000.0)
        begun(teacher=[TEACHER])
    Path(TEACHER).unlink()
    notes = Notes()
    record = taught(teacher=[TEACHER], progress=notes)
    assert f"teacher {TEACHER} is gone: its stored soft labels {the_store().name}" in notes.text
    assert files(Path("run")) == files(Path("whole"))
    assert record.teacher.seconds == 1000


def test_a_run_whose_teacher_is_gone_needs_every_answer() -> None:
    begun(teacher=[TEACHER], epochs=3)
    Path(TEACHER).unlink()
    with pytest.raises(InputError, match=r"is gone; .*1 of 3 views are missing: 2") as caught:
        taught(teacher=[TEACHER], epochs=3)
    assert "bring it back" in caught.value.hint


def test_a_run_whose_teacher_and_labels_are_gone_says_so() -> None:
    begun(teacher=[TEACHER])
    Path(TEACHER).unlink()
    shutil.rmtree(LABELS)
    with pytest.raises(InputError, match="is gone; labels holds no soft labels of it"):
        taught(teacher=[TEACHER])
    assert not LABELS.exists()


def test_a_run_on_features_needs_its_teacher_back() -> None:
    begun(teacher=[TEACHER], loss=["kd", "fitnet"])
    Path(TEACHER).unlink()
    with pytest.raises(InputError, match="is gone; losses on features need it"):
        taught(teacher=[TEACHER], loss=["kd", "fitnet"])
