"""A student that diverges is left out; the others go on as if it had never been there."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from compress.data.views import View
from compress.errors import DivergedError, InputError
from compress.training import session
from compress.training.results import read_diverged
from tests.notes import Notes
from tests.tiny_session import PLANS, kill_at_save, rows, train, weight_files
from tests.tiny_training import PLAIN, Given, Killed, digits, open_run, plan

TOO_FAST = PLAIN.model_copy(update={"learning_rate": 1e30})
WILD = plan("wild", terms=["kd"], optimization=TOO_FAST)
ALL = (PLANS[0], WILD, *PLANS[1:])


def left_out(folder: Path) -> list[tuple[str, int, str]]:
    run = open_run(folder / "run")
    try:
        return [(row.label, row.epoch, row.reason) for row in read_diverged(run, ALL)]
    finally:
        run.close()


@pytest.mark.parametrize("group", [None, 1, 2])
def test_the_others_end_as_without_it(tmp_path: Path, group: int | None) -> None:
    alone = train(tmp_path / "alone")
    notes = Notes()
    finished = train(tmp_path / "run", ALL, group=group, notes=notes)
    assert rows(finished) == rows(alone)
    assert weight_files(tmp_path / "run") == weight_files(tmp_path / "alone")
    [(label, epoch, reason)] = left_out(tmp_path / "run")
    assert (label, epoch) == ("wild", 1)
    assert reason.endswith("is not finite at learning rate 1e+30")
    assert f"wild diverged: {reason}; the others go on without it" in notes.text


@pytest.mark.parametrize(("group", "every"), [(None, 0), (None, 1), (1, 0), (2, 1), (2, 3)])
def test_a_kill_changes_nothing_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int | None, every: int
) -> None:
    changes: dict[str, Any] = {"group": group, "checkpoint_every": every}
    whole = train(tmp_path / "whole", ALL, **changes)
    again = None
    while again is None:
        with monkeypatch.context() as patch:
            kill_at_save(patch, 1)
            try:
                again = train(tmp_path / "killed", ALL, **changes)
            except Killed:
                continue
    assert rows(again) == rows(whole)
    assert weight_files(tmp_path / "killed") == weight_files(tmp_path / "whole")
    assert left_out(tmp_path / "killed") == left_out(tmp_path / "whole")


def test_a_group_that_goes_on_in_parts_remembers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once first, killed after an epoch; then one at a time, killed after each epoch."""
    whole = train(tmp_path / "whole", ALL)
    again, size = None, None
    while again is None:
        with monkeypatch.context() as patch:
            kill_at_save(patch, 1)
            try:
                again = train(tmp_path / "killed", ALL, group=size)
            except Killed:
                size = 1
    assert rows(again) == rows(whole)
    assert left_out(tmp_path / "killed") == left_out(tmp_path / "whole")


@pytest.mark.parametrize("saves", [1, 2])
def test_the_last_student_fails_the_run_though_others_diverged_before_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    """All at once, killed after `wild` was left out; then alone, `late` is the last hope."""

    class Late(Given):
        def labels(self, view: View) -> Tensor | None:
            answers = super().labels(view)
            return answers if answers is None or view.number == 0 else answers * float("nan")

    plans = (WILD, plan("late", terms=["kd"]), plan("control"))
    with monkeypatch.context() as patch:
        kill_at_save(patch, 1)
        with pytest.raises(Killed):
            train(tmp_path, plans, source=Late(digits()))
    with pytest.raises(DivergedError, match="late diverged"):
        train(tmp_path, plans, source=Late(digits()), group=saves)


def test_it_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = train(tmp_path, ALL)
    monkeypatch.setattr(session, "run_epochs", lambda *_, **__: pytest.fail("trained again"))
    assert rows(train(tmp_path, ALL)) == rows(before)


def test_a_controls_divergence_leaves_its_student(tmp_path: Path) -> None:
    control = plan("control", optimization=TOO_FAST)
    finished = train(tmp_path, (PLANS[0], control))
    assert [one.row.label for one in finished] == ["a"]


@pytest.mark.parametrize("group", [None, 1])
@pytest.mark.parametrize(
    "plans",
    [
        (WILD, plan("control")),
        (WILD, plan("wilder", terms=["kd"], seed=1, optimization=TOO_FAST), plan("control")),
        (plan("model", optimization=TOO_FAST),),
    ],
)
def test_without_any_student_left_nobody_trains(
    tmp_path: Path, plans: tuple[Any, ...], group: int | None
) -> None:
    """Also when the same command comes again, and without a file of anyone's result."""
    for _ in range(2):
        with pytest.raises(DivergedError, match="diverged: the loss is not finite"):
            train(tmp_path, plans, group=group)
    assert weight_files(tmp_path) == {}


def test_a_damaged_note_of_it_is_told(tmp_path: Path) -> None:
    train(tmp_path, ALL)
    path = tmp_path / "run" / "diverged" / "wild.json"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(InputError, match=r"wild\.json is missing or damaged"):
        train(tmp_path, ALL)
    shutil.rmtree(path.parent)
    train(tmp_path, ALL)
    assert left_out(tmp_path)[0][0] == "wild"
