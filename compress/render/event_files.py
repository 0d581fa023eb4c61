"""TensorBoard event files of a run: one folder per student, one step per epoch."""

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from compress.errors import MachineError
from compress.files import write_error
from compress.records.distill import StudentRow
from compress.records.run import EpochRecord
from compress.version import install_hint

FILE_NAME = "events.out.tfevents.compress"
FILE_VERSION = "brain.Event:2"
TEST_TAG = "top1/test"
"""Written at the selected epoch, whose weights are kept."""
FRAME_BYTES = 16
"""What a TFRecord is longer than its content: a length of 8 bytes and two checksums of 4."""


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


@dataclass
class _Written:
    """What stands in an event file.

    Attributes:
        size_bytes: Of its whole records.
        points: Tag and step of each value.
    """

    size_bytes: int = 0
    points: set[tuple[str, int]] = field(default_factory=set)


class EventFiles:
    """The event files of a run, which grow while it trains.

    They are only ever appended to: a TensorBoard reads on where it stopped. What stands in one is
    not written again, whichever process wrote it, since TensorBoard would show it twice. Of a run
    that is begun anew they are new files of the same names: begin TensorBoard anew, too.

    Args:
        folder: Where to; each student has a folder of its own in it.

    Raises:
        MachineError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        require_tensorboard()
        self._folder = folder
        self._written: dict[Path, _Written] = {}

    def write(self, epochs: Sequence[EpochRecord], rows: Sequence[StudentRow] = ()) -> list[Path]:
        """Add what is missing in `<folder>/<label>/events.out.tfevents.compress`.

        Wall times are counted back from now by each epoch's seconds. After a failure the next call
        adds what this one could not.

        Args:
            epochs: The learning curves so far.
            rows: Students and controls that are trained to their end, with their test accuracy.

        Returns:
            The file of each student that has epochs.

        Raises:
            InputError: A file cannot be written.
        """
        ended = {row.label: row for row in rows}
        curves: dict[str, list[EpochRecord]] = {}
        for one in epochs:
            curves.setdefault(one.label, []).append(one)
        paths = []
        for label, own in curves.items():
            path = self._folder / label / FILE_NAME
            try:
                self._add(path, own, ended.get(label))
            except OSError as error:
                raise write_error(path, error) from error
            paths.append(path)
        return paths

    def _add(self, path: Path, own: Sequence[EpochRecord], row: StudentRow | None) -> None:
        """Add what is missing in one student's file.

        Raises:
            OSError: It cannot be written.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        there = self._there(path)
        now, events, points = time.time(), [], set[tuple[str, int]]()
        for one in reversed(own):
            missing = [
                (tag, value)
                for tag, value in _scalars(one, row)
                if (tag, one.epoch) not in there.points
            ]
            if missing:
                values = [Summary.Value(tag=tag, simple_value=value) for tag, value in missing]
                summary = Summary(value=values)
                events.append(Event(wall_time=now, step=one.epoch, summary=summary))
                points |= {(tag, one.epoch) for tag, _ in missing}
            now -= one.seconds
        if not events:
            return
        if not there.size_bytes:
            events.append(Event(wall_time=now, file_version=FILE_VERSION))
        data = io.BytesIO()
        writer = RecordWriter(data)
        for event in reversed(events):
            writer.write(event.SerializeToString())
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as stream:
            stream.truncate(there.size_bytes)  # half a record is left where a disk was full
            stream.write(data.getvalue())
        there.size_bytes += len(data.getvalue())
        there.points |= points

    def _there(self, path: Path) -> _Written:
        """What stands in a file, read again where it is not as this process left it."""
        size_bytes = path.stat().st_size if path.is_file() else 0
        known = self._written.get(path)
        if known is None or known.size_bytes != size_bytes:
            known = self._written[path] = _read(path) if size_bytes else _Written()
        return known


def _read(path: Path) -> _Written:
    """What stands in a file before its end, or its first record that is cut or damaged."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub import errors
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    found, reader = _Written(), PyRecordReader_New(str(path))
    while True:
        try:
            reader.GetNext()
        except (errors.OutOfRangeError, errors.DataLossError):
            return found
        content = reader.record()
        event = Event.FromString(content)
        found.size_bytes += len(content) + FRAME_BYTES
        found.points |= {(value.tag, event.step) for value in event.summary.value}


def _scalars(one: EpochRecord, row: StudentRow | None) -> Iterator[tuple[str, float]]:
    """What one epoch shows, by tag; accuracies are fractions."""
    yield "loss/training", one.loss
    yield "loss/validation", one.val_loss
    yield "top1/training", one.train_top1
    yield "top1/validation", one.val_top1
    yield "learning_rate", one.learning_rate
    yield "images_per_second", one.images_per_second
    if row is not None and one.epoch == row.selected_epoch:
        yield TEST_TAG, row.top1
