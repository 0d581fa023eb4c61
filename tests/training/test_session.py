"""A run's training from plans to files."""

import gc
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compress.cache import cache_folder
from compress.config.distill import StudentPlan
from compress.errors import ConfigError, Interrupted, MachineError
from compress.interrupts import StopRequest
from compress.models import weights
from compress.records.run import EpochRecord
from compress.runs import Run, opened, read_epochs
from compress.training import session
from compress.training import state as checkpoints
from compress.training.distributed import World
from compress.training.learner import Learner
from compress.training.loop import run_epochs
from compress.training.memory import SMALLER
from compress.training.results import finish
from compress.training.session import train_students
from compress.training.workplace import Workplace
from tests.notes import Notes
from tests.tiny_session import PLANS, kill_at_save, rows, train, weight_files
from tests.tiny_training import CPU, Given, Killed, digits, hungry, open_run, plan, schedule


def log(folder: Path) -> list[tuple[Any, ...]]:
    return [
        (r.label, r.epoch, r.loss, r.train_top1, r.val_top1, r.val_loss, r.learning_rate)
        for r in read_epochs(folder / "run")
    ]


def test_every_plan_gets_weights_and_a_row_in_their_order(tmp_path: Path) -> None:
    finished = train(tmp_path)
    assert [one.row.label for one in finished] == ["a", "b", "control"]
    assert sorted(weight_files(tmp_path)) == sorted(
        f"{label}{kind}.safetensors" for label in ("a", "b", "control") for kind in ("", ".last")
    )
    assert [(entry[0], entry[1]) for entry in log(tmp_path)] == [
        (label, epoch) for epoch in (1, 2) for label in ("a", "b", "control")
    ]


@pytest.mark.parametrize("group", [1, 2])
def test_groups_end_as_all_at_once(tmp_path: Path, group: int) -> None:
    """The second group starts the views anew, so every student meets the same ones."""
    whole = train(tmp_path / "whole")
    parts = train(tmp_path / "parts", group=group)
    assert weight_files(tmp_path / "whole") == weight_files(tmp_path / "parts")
    assert rows(whole) == rows(parts)
    assert sorted(log(tmp_path / "whole")) == sorted(log(tmp_path / "parts"))


@pytest.mark.parametrize(("group", "every"), [(None, 0), (None, 1), (1, 3), (2, 0)])
def test_a_killed_run_is_taken_up_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int | None, every: int
) -> None:
    changes: dict[str, Any] = {"group": group, "checkpoint_every": every}
    whole = train(tmp_path / "whole", **changes)
    again = None
    deaths = 0
    while again is None:
        with monkeypatch.context() as patch:
            kill_at_save(patch, 1)
            try:
                again = train(tmp_path / "killed", **changes)
            except Killed:
                deaths += 1
    assert deaths >= 2
    assert weight_files(tmp_path / "whole") == weight_files(tmp_path / "killed")
    assert rows(whole) == rows(again)
    assert log(tmp_path / "whole") == log(tmp_path / "killed")


def test_what_restart_replaces_stays_until_all_that_learns_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path)
    place = tmp_path / "run"
    before = weight_files(tmp_path)
    again = Run.open(place, id="r", command="distill", config={}, restart=True)

    def too_large(*_: Any, **__: Any) -> None:
        raise MachineError("no step fits")

    monkeypatch.setattr(Learner, "step", too_large)
    with pytest.raises(MachineError), opened(again) as run:
        train_students(
            run,
            digits(),
            [plan("a")],
            schedule(tmp_path / "cache"),
            lambda _: Given(digits()),
            Workplace(CPU, progress=Notes()),
        )
    assert weight_files(tmp_path) == before


def test_a_death_while_results_are_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", group=2)
    written = [0]

    def then_die(*arguments: Any) -> None:
        written[0] += 1
        if written[0] == 2:
            raise Killed
        finish(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(session, "finish", then_die)
        with pytest.raises(Killed):
            train(tmp_path / "killed", group=2)
    again = train(tmp_path / "killed", group=2)
    assert weight_files(tmp_path / "whole") == weight_files(tmp_path / "killed")
    assert rows(whole) == rows(again)


@pytest.mark.parametrize(
    ("before", "after", "sizes"),
    [(None, 1, [1, 1, 1]), (None, 2, [2, 1]), (1, None, [1, 1]), (2, 1, [1])],
)
def test_the_size_of_groups_may_change_on_the_way(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: int | None,
    after: int | None,
    sizes: list[int],
) -> None:
    """A run that ran out of memory goes on with fewer students at a time."""
    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_at_save(patch, 3 if before else 1)
        with pytest.raises(Killed):
            train(tmp_path / "changed", group=before)
    trained: list[int] = []

    def counted(learners: list[Learner], *arguments: Any, **options: Any) -> None:
        trained.append(len(learners))
        run_epochs(learners, *arguments, **options)

    monkeypatch.setattr(session, "run_epochs", counted)
    again = train(tmp_path / "changed", group=after)
    assert trained == sizes
    assert weight_files(tmp_path / "whole") == weight_files(tmp_path / "changed")
    assert rows(whole) == rows(again)
    assert sorted(log(tmp_path / "whole")) == sorted(log(tmp_path / "changed"))


@pytest.mark.parametrize("every", [0, 2])
def test_a_group_that_goes_on_in_parts_may_be_killed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    """Each part starts from where the whole group stood, whatever was saved since."""
    whole = train(tmp_path / "whole")
    again, sizes = None, iter((None, 1, 1, 2, 1))
    while again is None:
        with monkeypatch.context() as patch, suppress(Killed):
            kill_at_save(patch, 1)
            again = train(tmp_path / "killed", group=next(sizes, 1), checkpoint_every=every)
    assert not list((tmp_path / "killed").rglob("waiting.pt"))
    assert weight_files(tmp_path / "whole") == weight_files(tmp_path / "killed")
    assert rows(whole) == rows(again)
    assert sorted(log(tmp_path / "whole")) == sorted(log(tmp_path / "killed"))


def test_a_part_that_is_too_large_is_put_aside_beside_the_whole_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All four, then two at a time, then one: nobody's epoch is done or told twice."""
    plans = (*PLANS, plan("c", seed=2, terms=["kd"]))
    whole = train(tmp_path / "whole", plans)
    for size in (None, 2):
        with monkeypatch.context() as patch:
            kill_at_save(patch, 1)
            with pytest.raises(Killed):
                train(tmp_path / "killed", plans, group=size)
    again = train(tmp_path / "killed", plans, group=1)
    assert not list((tmp_path / "killed").rglob("waiting*.pt"))
    assert weight_files(tmp_path / "whole") == weight_files(tmp_path / "killed")
    assert rows(whole) == rows(again)
    assert sorted(log(tmp_path / "whole")) == sorted(log(tmp_path / "killed"))


def test_the_curves_are_shown_whenever_they_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[tuple[str, int]]] = []

    def watch(folder: Path, epochs: Sequence[EpochRecord]) -> None:
        assert list(epochs) == read_epochs(folder)
        seen.append([(one.label, one.epoch) for one in epochs])

    first, second = ([(plan.label, epoch) for plan in PLANS] for epoch in (1, 2))
    with monkeypatch.context() as patch:
        kill_at_save(patch, 2)
        with pytest.raises(Killed):
            train(tmp_path, watch=watch)
    assert seen == [first]
    train(tmp_path, watch=watch)
    assert seen == [first, [*first, *second]]


def test_resuming_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        kill_at_save(patch, 2)
        with pytest.raises(Killed):
            train(tmp_path, checkpoint_every=3)
    notes = Notes()
    train(tmp_path, checkpoint_every=3, notes=notes)
    assert "resuming after epoch 1" in notes.text


def test_the_thread_count_is_part_of_the_run(tmp_path: Path) -> None:
    open_run(tmp_path / "run").choose("threads", lambda: 2)
    assert torch.get_num_threads() == 1
    train(tmp_path, PLANS[:1])
    assert torch.get_num_threads() == 2


def test_time_of_earlier_processes_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        kill_at_save(patch, 1)
        patch.setattr(Run, "seconds", 1000.0)
        with pytest.raises(Killed):
            train(tmp_path)
    run = open_run(tmp_path / "run")
    train_students(
        run,
        digits(),
        PLANS,
        schedule(cache_folder()),
        lambda _: Given(digits()),
        place=Workplace(CPU, progress=Notes()),
    )
    assert 1000 < run.seconds < 1100
    run.close()


def test_a_stop_between_groups_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopRequest()

    def then_ask(*arguments: Any) -> None:
        finish(*arguments)
        stop.requested = True

    monkeypatch.setattr(session, "finish", then_ask)
    with pytest.raises(Interrupted, match="stopped before b"):
        train(tmp_path, group=1, stop=stop)
    assert sorted(weight_files(tmp_path)) == ["a.last.safetensors", "a.safetensors"]


def test_a_batch_larger_than_the_data_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--batch-size 151 is larger than the 150 training"):
        train(tmp_path, batch_size=151)


def test_a_batch_that_ranks_cannot_share_evenly_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--batch-size 31 cannot be split evenly among 2 ranks"):
        train(tmp_path, batch_size=31, world=World(rank=0, size=2))


@pytest.mark.parametrize(
    ("size", "ranks", "message"),
    [
        (1, 1, "--batch-size 1 is 1 image a step: BatchNorm"),
        (2, 2, "--batch-size 2 is 1 image a step on each of 2 ranks: BatchNorm"),
    ],
)
def test_a_step_of_one_image_is_a_config_error(
    tmp_path: Path, size: int, ranks: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        train(tmp_path, batch_size=size, world=World(rank=0, size=ranks))
    assert caught.value.hint == f"use --batch-size {2 * ranks} or more"


def test_two_images_a_step_are_enough(tmp_path: Path) -> None:
    train(tmp_path, PLANS[2:], batch_size=2, epochs=1)


def test_a_run_that_fits_in_no_format_names_a_batch_size_that_was_tried_and_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.Conv2d, "forward", hungry(lambda images: len(images) > 9))
    notes = Notes()
    with pytest.raises(MachineError) as caught:
        train(tmp_path, PLANS[:1], notes=notes)
    assert "a with batch size 32 is out of memory: CUDA out of memory" in caught.value.message
    assert caught.value.hint == "--batch-size 8 fits", "a student alone has no company to lessen"
    assert "NHWC, float32 is left out: CUDA out of memory" in notes.text
    assert not any(
        name.startswith("format of") for name in open_run(tmp_path / "run").manifest.choices
    )


def test_several_students_that_do_not_fit_are_told_how_to_train_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.Conv2d, "forward", hungry(lambda images: len(images) > 9))
    with pytest.raises(MachineError) as caught:
        train(tmp_path)
    assert caught.value.hint == (
        "--batch-size 8 fits; --group 1 trains one at a time, which needs less"
    )


def test_a_run_trains_in_the_format_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial's batch of 32 in NHWC is too much; evaluation has other sizes."""

    def too_much(images: Tensor) -> bool:
        return len(images) == 32 and images.is_contiguous(memory_format=torch.channels_last)

    monkeypatch.setattr(nn.Conv2d, "forward", hungry(too_much))
    notes = Notes()
    assert train(tmp_path, PLANS[:1], notes=notes)[0].row.label == "a"
    assert "trains in NCHW, float32" in notes.text


@pytest.mark.parametrize(
    ("place", "plans", "who", "remedy"),
    [
        ("build_learner", PLANS, "training 3 students at once", f"{SMALLER}; --group 1 trains one"),
        ("run_epochs", PLANS[:1], "a", SMALLER),
        ("finish", PLANS[:1], "a", SMALLER),
    ],
)
def test_memory_that_runs_out_outside_a_step_is_no_bug(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    plans: Sequence[StudentPlan],
    who: str,
    remedy: str,
) -> None:
    """Students put on the device, soft labels sent there, augmentation, evaluation."""

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    monkeypatch.setattr(session, place, full)
    with pytest.raises(MachineError) as caught:
        train(tmp_path, plans)
    assert caught.value.message == (
        f"{who} is out of memory: CUDA out of memory. Tried to allocate 2 GiB"
    )
    assert caught.value.hint.startswith(remedy)


def test_a_checkpoint_is_let_go_of_once_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        kill_at_save(patch, 1)
        with pytest.raises(Killed):
            train(tmp_path)
    load, loaded, kept = checkpoints.load, [], []

    def watched(path: Path) -> Any:
        state = load(path)
        learners = state["learners"] if state is not None else ()
        loaded.extend(weakref.ref(one["model"]["linear.weight"]) for one in learners)
        return state

    def looking(*arguments: Any, **options: Any) -> None:
        gc.collect()
        kept.append(sum(tensor() is not None for tensor in loaded))
        run_epochs(*arguments, **options)

    monkeypatch.setattr(checkpoints, "load", watched)
    monkeypatch.setattr(session, "run_epochs", looking)
    train(tmp_path)
    assert len(loaded) == 6, "read for what it says of the run, and for its learners"
    assert kept == [0]


def test_kept_files_describe_themselves(tmp_path: Path) -> None:
    train(tmp_path, PLANS[:1])
    header = weights.load(tmp_path / "run" / "students" / "a.safetensors", {}).header
    assert (header.model, header.image_size) == ("small_cnn", 8)
    assert header.options["width"] == 0.25
    assert header.class_names == digits().class_names
    assert header.mean == digits().mean
