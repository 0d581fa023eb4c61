"""TensorBoard event files, read back by TensorBoard."""

from itertools import pairwise
from pathlib import Path

import pytest

from compress.errors import InputError, MachineError
from compress.render import event_files
from compress.render.event_files import FILE_NAME, EventFiles
from compress.version import install_hint
from tests.fake_run import epochs, student

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROWS = [student("small_cnn", top1=0.91, selected_epoch=2), student("small_cnn-control")]
EPOCHS = epochs([row.label for row in ROWS], count=3)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_reads_every_curve(tmp_path: Path) -> None:
    files = EventFiles(tmp_path).write(EPOCHS, ROWS)
    assert files == [tmp_path / row.label / FILE_NAME for row in ROWS]
    read = scalars(tmp_path / "small_cnn")
    own = [one for one in EPOCHS if one.label == "small_cnn"]
    for tag, field in [
        ("loss/training", "loss"),
        ("loss/validation", "val_loss"),
        ("top1/training", "train_top1"),
        ("top1/validation", "val_top1"),
        ("learning_rate", "learning_rate"),
        ("images_per_second", "images_per_second"),
    ]:
        assert [step for step, _ in read[tag]] == [1, 2, 3]
        expected = [getattr(one, field) for one in own]
        assert [value for _, value in read[tag]] == pytest.approx(expected)


def test_the_test_accuracy_stands_at_the_selected_epoch_alone(tmp_path: Path) -> None:
    EventFiles(tmp_path).write(EPOCHS, ROWS)
    ((step, value),) = scalars(tmp_path / "small_cnn")["top1/test"]
    assert step == 2
    assert value == pytest.approx(0.91)


def test_epochs_lie_as_far_apart_as_they_took(tmp_path: Path) -> None:
    EventFiles(tmp_path).write(EPOCHS, ROWS)
    accumulator = EventAccumulator(str(tmp_path / "small_cnn"))
    accumulator.Reload()
    times = [event.wall_time for event in accumulator.Scalars("loss/training")]
    assert [after - before for before, after in pairwise(times)] == pytest.approx([20.0, 20.0])


def written(folder: Path, label: str = "small_cnn") -> bytes:
    return (folder / label / FILE_NAME).read_bytes()


def steps(folder: Path, tag: str = "loss/training") -> list[int]:
    return [step for step, _ in scalars(folder / "small_cnn")[tag]]


@pytest.mark.parametrize("taken_up", [False, True])
def test_a_file_grows_with_the_training_and_nothing_stands_in_it_twice(
    tmp_path: Path, taken_up: bool
) -> None:
    """Also where another process goes on with the run."""
    files, before = EventFiles(tmp_path), b""
    for epoch in (1, 2, 3):
        files.write([one for one in EPOCHS if one.epoch <= epoch])
        assert steps(tmp_path) == list(range(1, epoch + 1))
        assert written(tmp_path).startswith(before)
        before = written(tmp_path)
        files = EventFiles(tmp_path) if taken_up else files
    assert "top1/test" not in scalars(tmp_path / "small_cnn")
    for _ in range(2):
        EventFiles(tmp_path).write(EPOCHS, ROWS)
        assert steps(tmp_path) == [1, 2, 3]
        assert steps(tmp_path, "top1/test") == [2]
    assert written(tmp_path).startswith(before)
    assert [path.name for path in (tmp_path / "small_cnn").iterdir()] == [FILE_NAME]


def test_a_tensorboard_that_has_a_file_open_reads_on(tmp_path: Path) -> None:
    files = EventFiles(tmp_path)
    files.write(EPOCHS[:2])
    running = EventAccumulator(str(tmp_path / "small_cnn"))
    running.Reload()
    files.write(EPOCHS)
    EventFiles(tmp_path).write(EPOCHS, ROWS)
    running.Reload()
    assert [event.step for event in running.Scalars("loss/training")] == [1, 2, 3]
    assert [event.step for event in running.Scalars("top1/test")] == [2]


def test_the_same_written_again_changes_no_byte(tmp_path: Path) -> None:
    EventFiles(tmp_path).write(EPOCHS, ROWS)
    before = written(tmp_path)
    EventFiles(tmp_path).write(EPOCHS, ROWS)
    assert written(tmp_path) == before


@pytest.mark.parametrize("taken_up", [False, True])
@pytest.mark.parametrize("lost", [1, 20, 200])
def test_what_was_cut_on_the_way_is_written_again(
    tmp_path: Path, lost: int, taken_up: bool
) -> None:
    """An epoch takes 170 bytes: its checksum is cut, or its end, or all of it and more."""
    files = EventFiles(tmp_path)
    files.write([one for one in EPOCHS if one.epoch <= 2])
    (tmp_path / "small_cnn" / FILE_NAME).write_bytes(written(tmp_path)[:-lost])
    files = EventFiles(tmp_path) if taken_up else files
    files.write(EPOCHS)
    assert steps(tmp_path) == [1, 2, 3]


def test_what_a_user_removed_on_the_way_is_written_again(tmp_path: Path) -> None:
    files = EventFiles(tmp_path)
    files.write([one for one in EPOCHS if one.epoch <= 2])
    (tmp_path / "small_cnn" / FILE_NAME).unlink()
    files.write(EPOCHS)
    assert steps(tmp_path) == [1, 2, 3]


def test_after_a_failure_the_next_call_adds_what_is_missing(tmp_path: Path) -> None:
    files = EventFiles(tmp_path / "tensorboard")
    (tmp_path / "tensorboard").write_text("in the way")
    with pytest.raises(InputError, match="tensorboard"):
        files.write([one for one in EPOCHS if one.epoch <= 2])
    (tmp_path / "tensorboard").unlink()
    files.write(EPOCHS)
    assert steps(tmp_path / "tensorboard") == [1, 2, 3]


def test_who_is_left_out_on_the_way_keeps_its_curve(tmp_path: Path) -> None:
    EventFiles(tmp_path).write(EPOCHS, ROWS[1:])
    assert steps(tmp_path) == [1, 2, 3]
    assert "top1/test" not in scalars(tmp_path / "small_cnn")


def test_a_student_without_epochs_has_no_file(tmp_path: Path) -> None:
    assert EventFiles(tmp_path).write([], ROWS) == []


def test_without_tensorboard_the_line_that_installs_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_files, "find_spec", lambda _name: None)
    with pytest.raises(MachineError) as caught:
        EventFiles(tmp_path).write(EPOCHS, ROWS)
    assert caught.value.hint == install_hint("tensorboard")


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    with pytest.raises(InputError, match="tensorboard"):
        EventFiles(tmp_path / "tensorboard").write(EPOCHS, ROWS)
