"""Pictures of a run."""

from pathlib import Path

import pytest

from compress.cli.drawing import draw, watching
from compress.records.distill import DistillRecord
from compress.runs import RECORD
from compress.training.workplace import unwatched
from tests.fake_run import epochs, make_run
from tests.notes import Notes


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_run(tmp_path / "run")
    return tmp_path / "run"


def _draw(run: Path, *, tensorboard: bool) -> str:
    record, notes = DistillRecord.read(run / RECORD), Notes()
    draw(run, record.students, record, tensorboard=tensorboard, progress=notes)
    return notes.text


def test_curves_are_drawn_as_png(run: Path) -> None:
    assert _draw(run, tensorboard=False) == ""
    pictures = list((run / "plots").iterdir())
    assert pictures
    assert {p.read_bytes()[:8] for p in pictures} == {b"\x89PNG\r\n\x1a\n"}
    assert not (run / "tensorboard").exists()


def test_what_a_killed_process_was_drawing_is_removed(run: Path) -> None:
    (run / "plots").mkdir()
    (run / "plots" / ".curves.png.x1y2.part").write_bytes(b"half")
    _draw(run, tensorboard=False)
    assert not list(run.rglob("*.part"))


def test_a_result_stands_without_its_pictures(run: Path) -> None:
    (run / "plots").write_text("in the way")
    assert _draw(run, tensorboard=False).startswith("without pictures: cannot write ")


def test_a_result_stands_without_its_event_files(run: Path) -> None:
    pytest.importorskip("tensorboard")
    (run / "tensorboard").write_text("in the way")
    assert _draw(run, tensorboard=True).startswith("without event files: cannot write ")


def test_what_keeps_pictures_away_keeps_no_event_files_away(run: Path) -> None:
    pytest.importorskip("tensorboard")
    (run / "plots").write_text("in the way")
    _draw(run, tensorboard=True)
    assert [p for p in (run / "tensorboard").rglob("*") if p.is_file()]


def test_event_files_are_written_where_asked_for(run: Path) -> None:
    pytest.importorskip("tensorboard")
    _draw(run, tensorboard=True)
    assert [p for p in (run / "tensorboard").rglob("*") if p.is_file()]


EPOCHS = epochs(["small_cnn", "control"], count=2)


def test_nobody_watches_where_no_event_files_are_asked_for() -> None:
    assert watching(tensorboard=False, progress=Notes()) is unwatched


def test_event_files_grow_in_each_run_that_is_watched(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    notes = Notes()
    watch = watching(tensorboard=True, progress=notes)
    for run in (tmp_path / "teacher", tmp_path / "students"):
        watch(run, EPOCHS[:2])
        files = sorted((run / "tensorboard").glob("*/*"))
        sizes = [path.stat().st_size for path in files]
        watch(run, EPOCHS)
        assert [path.parent.name for path in files] == ["control", "small_cnn"]
        assert all(path.stat().st_size > size for path, size in zip(files, sizes, strict=True))
    assert notes.notes == []


def test_a_training_goes_on_without_its_event_files_and_says_so_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    notes = Notes()
    watch = watching(tensorboard=True, progress=notes)
    (tmp_path / "tensorboard").write_text("in the way")
    watch(tmp_path, EPOCHS[:2])
    watch(tmp_path, EPOCHS[:2])
    (said,) = notes.notes
    assert said.startswith("TensorBoard does not see the newest epochs: cannot write ")
    (tmp_path / "tensorboard").unlink()
    watch(tmp_path, EPOCHS)
    assert len(list((tmp_path / "tensorboard").glob("*/*"))) == 2
