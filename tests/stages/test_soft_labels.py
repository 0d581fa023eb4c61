"""`compress soft-labels`: answers made ahead of time."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from compress.config.soft_labels import SoftLabelsConfig
from compress.config.specs import Reference
from compress.errors import ConfigError, InputError, Interrupted
from compress.interrupts import StopRequest
from compress.records.soft_labels import SoftLabelsRecord
from compress.stages import soft_labels as stage
from compress.stages.soft_labels import soft_labels
from compress.stages.train import train
from compress.training.distributed import World
from compress.training.teachers import Teacher, Trust
from tests.notes import Notes
from tests.tiny_stages import place, train_config
from tests.tiny_training import teacher_file, trained_teacher_file

TEACHER = "teacher.safetensors"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path) -> Iterator[None]:
    with place(tmp_path / "here"):
        trained_teacher_file(Path(TEACHER))
        yield


def fill(*teachers: str, progress: Notes | None = None, **changes: Any) -> SoftLabelsRecord:
    values: dict[str, Any] = {
        "teacher": tuple(Reference.parse(text) for text in teachers or (TEACHER,)),
        "image_size": 8,
        "views": 2,
        "soft_labels": Path("labels"),
        "device": "cpu",
        "amp": "off",
    }
    return soft_labels(SoftLabelsConfig(**{**values, **changes}), progress=progress or Notes())


def views() -> list[Path]:
    return list(Path("labels").glob("*/views/*"))


def stored() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("labels").glob("*/views/*")}


def test_views_are_filled_once() -> None:
    first = fill()
    before = stored()
    second = fill()
    assert (first.filled, first.found) == (2, 0)
    assert (second.filled, second.found) == (0, 2)
    assert second.seconds == 0
    assert len(before) == 2
    assert stored() == before


def test_a_damaged_view_counts_as_filled() -> None:
    fill()
    before = stored()
    damaged = next(Path("labels").glob("*/views/*"))
    damaged.write_bytes(damaged.read_bytes()[:-2])
    notes = Notes()
    record = fill(progress=notes)
    assert (record.filled, record.found) == (1, 1)
    assert "computing it again" in notes.text
    assert stored() == before


def test_each_view_that_is_filled_is_one_line_of_a_log() -> None:
    fill(views=1)
    notes = Notes()
    fill(views=3, progress=notes)
    lines = [note for note in notes.notes if "images/s" in note]
    said = [re.sub(r"[1-9]\d* images/s", "N images/s", line) for line in lines]
    assert said == ["view 2/3: stored, N images/s", "view 3/3: stored, N images/s"]
    named = [task.split(":")[0] for task in notes.started if task.startswith("view")]
    assert named == ["view 2/3", "view 3/3"]


def test_more_views_are_added_to_those_that_are_there() -> None:
    fill()
    before = stored()
    more = fill(views=3)
    assert (more.filled, more.found) == (1, 2)
    assert before.items() < stored().items()


def test_the_record_describes_what_lies_there() -> None:
    record = fill()
    (found,) = record.sets
    assert record.folder == "labels"
    assert (found.teacher, found.data, found.views) == ("small_cnn", "digits", 2)
    assert found.top1 > 0.5
    assert found.number_format == "float32"
    assert found.size_bytes == sum(len(content) for content in stored().values())


def test_the_users_cache_is_the_place_unless_told(tmp_path: Path) -> None:
    record = fill(soft_labels=None)
    assert record.folder == str(tmp_path / "here" / "cache" / "soft-labels")


def test_an_ensemble_has_a_set_of_its_own() -> None:
    teacher_file(Path("other.safetensors"), seed=3)
    fill()
    record = fill(TEACHER, TEACHER, "other.safetensors")
    assert sorted(found.teacher for found in record.sets) == ["ensemble of 3", "small_cnn"]


def test_a_stop_keeps_the_finished_views(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped:
        def __enter__(self) -> StopRequest:
            return StopRequest(requested=True)

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(stage, "polite_stop", lambda _, **__: Stopped())
    with pytest.raises(Interrupted, match="stopped after view 1 of 2"):
        fill()
    assert len(stored()) == 1


class Elsewhere(World):
    """One rank that hears of a signal another got."""

    asked: ClassVar[list[bool]] = []

    def fail_together(self, failed: Exception | None) -> None:
        """Nothing fails."""
        assert failed is None

    def agree(self, flag: bool) -> bool:
        """The other rank is asked to stop in its second view."""
        self.asked.append(flag)
        return len(self.asked) == 2


def test_a_stop_of_another_rank_stops_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Elsewhere, "asked", [])
    monkeypatch.setattr(stage, "join", lambda _: Elsewhere())
    with pytest.raises(Interrupted, match="stopped after view 2 of 3"):
        fill(views=3)
    assert Elsewhere.asked == [False, False]


def test_ranks_agree_after_the_last_view_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Elsewhere, "asked", [])
    monkeypatch.setattr(stage, "join", lambda _: Elsewhere())
    assert fill(views=2).filled == 2
    assert Elsewhere.asked == [False, False]


def test_a_limit_keeps_the_folder_small_but_never_breaks_a_run() -> None:
    notes = Notes()
    record = fill(views=45, soft_labels_limit_mib=1, progress=notes)
    size = record.sets[0].size_bytes // record.sets[0].views
    # the views of the run in progress are never removed, whatever the limit
    assert record.sets[0].views == 45
    assert 45 * size > 2**20
    assert notes.text.count("of views, more than its limit of 1 MiB") == 1


def test_the_next_command_keeps_what_it_needs_and_removes_what_is_beyond_the_limit() -> None:
    filled = fill(views=45)
    first = [path for _, path in sorted((p.stat().st_mtime_ns, p) for p in views())][:3]
    for path in first:
        os.utime(path, ns=(1, 1))  # needed, though not used for longest
    notes = Notes()
    record = fill(views=3, soft_labels_limit_mib=1, progress=notes)
    assert (record.filled, record.found) == (0, 3)
    assert all(path.exists() for path in first)
    size = filled.sets[0].size_bytes // 45
    assert record.sets[0].views == 2**20 // size
    gone = 45 - record.sets[0].views
    assert f"labels is kept within 1 MiB: its {gone} views that were not used" in notes.text


def test_answers_in_another_number_format_are_used_where_they_are_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a machine that is fast in it filled them."""
    assert fill(views=2, amp="bf16").sets[0].number_format == "bfloat16"
    monkeypatch.setattr(Teacher, "choose_format", lambda *_: Trust())
    again = fill(views=2, amp="auto")
    assert (again.filled, again.found, len(again.sets)) == (0, 2, 1)
    notes = Notes()
    more = fill(views=3, amp="auto", progress=notes)
    assert "soft labels in bfloat16 hold 2 of 3 views" in notes.text
    assert (more.filled, len(more.sets)) == (3, 2)
    assert fill(views=2, amp="off").found == 2
    assert fill(views=2, amp="bf16").found == 2
    assert {one.number_format: one.views for one in more.sets} == {"bfloat16": 2, "float32": 3}


def test_a_stop_is_told_of_the_view_that_is_finished() -> None:
    class Asking(Notes):
        """Is interrupted while the first view is answered."""

        def start(self, *arguments: Any, **named: Any) -> None:
            super().start(*arguments, **named)
            os.kill(os.getpid(), signal.SIGINT)

    notes = Asking()
    with pytest.raises(Interrupted, match="stopped after view 1 of 2, which is stored"):
        fill(progress=notes)
    assert "stopping after this view is saved" in notes.text


def test_the_teacher_of_a_run_is_found_by_its_model() -> None:
    train(train_config(epochs=3))
    notes = Notes()
    record = fill("small_cnn", progress=notes)
    assert "the newest complete run of small_cnn on this data" in notes.text
    assert record.filled == 2


def test_without_such_a_run_nothing_is_trained() -> None:
    with pytest.raises(ConfigError, match="no complete run of resnet18 on digits") as caught:
        fill("resnet18")
    assert "compress train" in caught.value.hint


def test_a_teacher_that_knows_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no teacher 'gone'"):
        fill("gone")


def test_a_folder_that_cannot_be_written_is_an_input_error() -> None:
    Path("file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        fill(soft_labels=Path("file"))
