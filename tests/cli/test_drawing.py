"""Pictures of a finished run."""

from pathlib import Path

import pytest

from compress.cli.drawing import draw
from compress.records.distill import DistillRecord
from compress.runs import RECORD
from tests.fake_run import make_run
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


def test_event_files_are_written_where_asked_for(run: Path) -> None:
    pytest.importorskip("tensorboard")
    _draw(run, tensorboard=True)
    assert [p for p in (run / "tensorboard").rglob("*") if p.is_file()]
