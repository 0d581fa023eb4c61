"""TensorBoard event files of a finished run: one folder per student, one step per epoch."""

import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from compress.errors import MachineError
from compress.files import atomic_path
from compress.records.distill import StudentRow
from compress.records.run import EpochRecord
from compress.version import install_hint

FILE_NAME = "events.out.tfevents.compress"
FILE_VERSION = "brain.Event:2"
TEST_TAG = "top1/test"
"""Written at the selected epoch, the only one whose weights saw the test images."""


def require_tensorboard() -> None:
    """Make sure that event files can be written, before hours are spent on what goes in.

    Raises:
        MachineError: The package is not installed.
    """
    if find_spec("tensorboard") is None:
        raise MachineError(
            "--tensorboard needs tensorboard, which is not installed",
            hint=install_hint("tensorboard"),
        )


def write_event_files(
    folder: Path, epochs: Sequence[EpochRecord], rows: Sequence[StudentRow]
) -> list[Path]:
    """Write `<folder>/<label>/events.out.tfevents.compress` for each student that has epochs.

    Wall times are counted back from now by each epoch's seconds.

    Args:
        folder: Where to; files of an earlier call are replaced.
        epochs: The learning curves.
        rows: Students and controls.

    Returns:
        The files.

    Raises:
        MachineError: tensorboard is not installed.
        InputError: A file cannot be written.
    """
    require_tensorboard()
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    written = []
    for row in rows:
        own = [one for one in epochs if one.label == row.label]
        if not own:
            continue
        now = time.time()
        path = folder / row.label / FILE_NAME
        with atomic_path(path) as part, part.open("wb") as stream:
            writer = RecordWriter(stream)
            began = now - sum(one.seconds for one in own)
            writer.write(Event(wall_time=began, file_version=FILE_VERSION).SerializeToString())
            for place, one in enumerate(own):
                ended = now - sum(later.seconds for later in own[place + 1 :])
                values = [
                    Summary.Value(tag=tag, simple_value=value) for tag, value in _scalars(one, row)
                ]
                summary = Summary(value=values)
                event = Event(wall_time=ended, step=one.epoch, summary=summary)
                writer.write(event.SerializeToString())
            writer.flush()
        written.append(path)
    return written


def _scalars(one: EpochRecord, row: StudentRow) -> Iterator[tuple[str, float]]:
    """What one epoch shows, by tag; accuracies are fractions."""
    yield "loss/training", one.loss
    yield "loss/validation", one.val_loss
    yield "top1/training", one.train_top1
    yield "top1/validation", one.val_top1
    yield "learning_rate", one.learning_rate
    yield "images_per_second", one.images_per_second
    if one.epoch == row.selected_epoch:
        yield TEST_TAG, row.top1
