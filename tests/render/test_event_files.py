"""TensorBoard event files, read back by TensorBoard."""

from itertools import pairwise
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from compress.errors import InputError, MachineError
from compress.render import event_files
from compress.render.event_files import FILE_NAME, write_event_files
from compress.version import install_hint
from tests.fake_run import epochs, student

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
    files = write_event_files(tmp_path, EPOCHS, ROWS)
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
    write_event_files(tmp_path, EPOCHS, ROWS)
    ((step, value),) = scalars(tmp_path / "small_cnn")["top1/test"]
    assert step == 2
    assert value == pytest.approx(0.91)


def test_epochs_lie_as_far_apart_as_they_took(tmp_path: Path) -> None:
    write_event_files(tmp_path, EPOCHS, ROWS)
    accumulator = EventAccumulator(str(tmp_path / "small_cnn"))
    accumulator.Reload()
    times = [event.wall_time for event in accumulator.Scalars("loss/training")]
    assert [after - before for before, after in pairwise(times)] == pytest.approx([20.0, 20.0])


def test_writing_again_replaces_what_was_there(tmp_path: Path) -> None:
    write_event_files(tmp_path, EPOCHS, ROWS)
    write_event_files(tmp_path, EPOCHS, ROWS)
    assert len(scalars(tmp_path / "small_cnn")["loss/training"]) == 3
    assert [path.name for path in (tmp_path / "small_cnn").iterdir()] == [FILE_NAME]


def test_a_student_without_epochs_has_no_file(tmp_path: Path) -> None:
    assert write_event_files(tmp_path, [], ROWS) == []


def test_without_tensorboard_the_line_that_installs_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_files, "find_spec", lambda _name: None)
    with pytest.raises(MachineError) as caught:
        write_event_files(tmp_path, EPOCHS, ROWS)
    assert caught.value.hint == install_hint("tensorboard")


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    with pytest.raises(InputError, match="tensorboard"):
        write_event_files(tmp_path / "tensorboard", EPOCHS, ROWS)
