"""Who still trains, in which groups, from which checkpoint."""

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from compress.errors import InputError
from compress.records.training import DivergedRow
from compress.runs import CHECKPOINT, Run
from compress.training import session
from compress.training import state as checkpoints
from compress.training.distributed import World
from compress.training.groups import Begun, groups_to_train, waiting_files
from compress.training.learner import Learner
from compress.training.loop import Position
from compress.training.results import diverged_row, note_diverged
from compress.training.students import build_learner
from tests.notes import Notes
from tests.tiny_session import kill_at_save, train
from tests.tiny_training import Killed, open_run, plan

PLANS = tuple(plan(label) for label in "abcd")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path / "run")


def save(
    run: Run,
    learning: str,
    *,
    epoch: int,
    diverged: Sequence[DivergedRow] = (),
    to: str = CHECKPOINT,
) -> None:
    position = Position(epoch=epoch, diverged=list(diverged))
    saved = {"position": position.state(), "learners": [{"label": one} for one in learning]}
    checkpoints.save(run.folder / to, {**saved, "seconds": 10.0 * epoch})


def groups(run: Run, size: int) -> list[tuple[str, str | None]]:
    begun = Begun.read(run.folder)
    found = groups_to_train(run, PLANS, begun, size=size, world=World())
    return [("".join(one.label for one in group.plans), group.checkpoint) for group in found]


def test_nothing_was_begun_in_an_empty_run(run: Run) -> None:
    assert Begun.read(run.folder) == Begun()
    assert groups(run, 3) == [("abc", None), ("d", None)]


def test_a_group_that_has_begun_goes_on_first(run: Run) -> None:
    save(run, "cd", epoch=3)
    begun = Begun.read(run.folder)
    assert (begun.seconds, begun.teacher_seconds) == (30, 0)
    assert groups(run, 2) == [("cd", "last.pt"), ("ab", None)]
    assert waiting_files(run.folder) == []


def test_the_checkpoint_of_a_group_that_is_trained_to_its_end_counts_no_more(run: Run) -> None:
    save(run, "ab", epoch=3)
    (run.folder / "students").mkdir()
    for label in "ab":
        (run.folder / "students" / f"{label}.json").touch()
    assert groups(run, 1) == [("c", None), ("d", None)]
    assert waiting_files(run.folder) == []


def test_who_is_trained_to_the_end_is_not_trained_with_the_rest_of_the_group(run: Run) -> None:
    """A process that ends while it writes results leaves some of a group."""
    save(run, "abc", epoch=3)
    (run.folder / "students").mkdir()
    (run.folder / "students" / "a.json").touch()
    assert groups(run, 2) == [("bc", "last.pt"), ("d", None)]


def test_parts_go_on_from_a_copy_that_is_made_once(run: Run) -> None:
    """Also where a process ended after the copy, before its first part was saved."""
    save(run, "abc", epoch=3)
    expected = [("ab", "waiting.pt"), ("c", "waiting.pt"), ("d", None)]
    assert groups(run, 2) == expected
    assert groups(run, 2) == expected
    assert [path.name for path in waiting_files(run.folder)] == ["waiting.pt"]


def test_each_goes_on_from_where_most_is_known_of_it(run: Run) -> None:
    for number in range(1, 12):
        name = "waiting.pt" if number == 1 else f"waiting-{number}.pt"
        save(run, "abcd" if number == 1 else "ab", epoch=number, to=name)
    save(run, "a", epoch=12)
    assert groups(run, 1) == [
        ("a", "last.pt"),
        ("b", "waiting-11.pt"),
        ("c", "waiting.pt"),
        ("d", "waiting.pt"),
    ]


def test_who_diverged_is_known_from_every_checkpoint(run: Run) -> None:
    """It still belongs to its group, which tells of it, until it is noted."""
    gone = [diverged_row(one, epoch=1, reason="the loss is not finite") for one in PLANS[:2]]
    save(run, "cd", epoch=1, diverged=gone[:1], to="waiting.pt")
    save(run, "c", epoch=2, diverged=gone[1:])
    assert Begun.read(run.folder).diverged == {"a", "b"}
    assert groups(run, 2) == [("bc", "last.pt"), ("ad", "waiting.pt")]
    note_diverged(run, gone[0])
    assert groups(run, 2) == [("bc", "last.pt"), ("d", "waiting.pt")]


def test_a_damaged_checkpoint_is_told(run: Run) -> None:
    (run.folder / "waiting.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"waiting\.pt is damaged"):
        Begun.read(run.folder)


def test_ten_students_in_groups_of_two_take_the_memory_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Learner]] = []
    alive: list[int] = []

    def counted(*arguments: Any) -> Learner:
        gc.collect()
        alive.append(sum(one() is not None for one in made))
        learner = build_learner(*arguments)
        made.append(weakref.ref(learner))
        return learner

    monkeypatch.setattr(session, "build_learner", counted)
    train(tmp_path, [plan(label) for label in "abcdefghij"], group=2, epochs=1)
    assert alive == [0, 1] * 5


def test_each_of_several_groups_is_named_in_the_log_and_before_its_epochs(tmp_path: Path) -> None:
    plans = (*PLANS, plan("e"))
    notes = Notes()
    train(tmp_path, plans, group=4, epochs=1, notes=notes)
    named = [note for note in notes.notes if note.startswith("group")]
    assert named == ["group 1/2: a, b, c (and 1 more)", "group 2/2: e"]
    epochs = [task for task in notes.started if "epoch" in task]
    assert epochs == ["group 1/2 epoch 1/1: 4 step", "group 2/2 epoch 1/1: 4 step"]


def test_groups_keep_their_numbers_in_a_run_that_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        kill_at_save(patch, 3)  # the first of the second group
        with pytest.raises(Killed):
            train(tmp_path, PLANS[:3], group=1)
    notes = Notes()
    train(tmp_path, PLANS[:3], group=1, notes=notes)
    assert [note for note in notes.notes if note.startswith(("group", "resuming"))] == [
        "group 2/3: b",
        "resuming after epoch 1",
        "group 3/3: c",
    ]


def test_students_that_all_train_at_once_are_no_group(tmp_path: Path) -> None:
    notes = Notes()
    train(tmp_path, PLANS[:2], epochs=1, notes=notes)
    assert "group" not in notes.text
    assert [task for task in notes.started if "epoch" in task] == ["epoch 1/1: 4 step"]
