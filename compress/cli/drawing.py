"""Pictures of a run, no part of its manifest: curves while it trains, and all when it is over."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.progress import Progress
    from compress.records.distill import DistillRecord, StudentRow
    from compress.records.run import EpochRecord
    from compress.training.workplace import Watch

EVENTS = "tensorboard"


def watching(*, tensorboard: bool, progress: "Progress") -> "Watch":
    """What a stage shows its learning curves to: TensorBoard event files, where asked for.

    The training is worth more than its pictures: where they cannot be written, that is said once,
    and tried again with the next epoch.

    Args:
        tensorboard: Whether to write event files.
        progress: Told of what cannot be written.

    Raises:
        MachineError: Event files are asked for, and tensorboard is not installed.
    """
    from compress.training.workplace import unwatched

    if not tensorboard:
        return unwatched
    from compress.errors import InputError
    from compress.render.event_files import EventFiles, require_tensorboard

    require_tensorboard()
    files: dict[Path, EventFiles] = {}
    said: set[Path] = set()

    def watch(folder: Path, epochs: "Sequence[EpochRecord]") -> None:
        if folder not in files:
            files[folder] = EventFiles(folder / EVENTS)
        try:
            files[folder].write(epochs)
        except InputError as error:
            if folder not in said:
                progress.note(f"TensorBoard does not see the newest epochs: {error}")
            said.add(folder)

    return watch


def draw(
    folder: Path,
    rows: "Sequence[StudentRow]",
    taught: "DistillRecord | None",
    *,
    tensorboard: bool,
    progress: "Progress",
) -> None:
    """Write a finished run's curves as PNG, and all of its TensorBoard event files if asked for.

    The result stands without the pictures: where there is no room for them, that is a note.

    Args:
        folder: The run directory.
        rows: Its students and controls.
        taught: The record they stand in, which has their teacher; None where nobody taught.
        tensorboard: Whether to write event files.
        progress: Told of what cannot be drawn.
    """
    from compress.errors import InputError
    from compress.render.plots import write_run_plots
    from compress.runs import read_epochs

    epochs = read_epochs(folder)
    try:
        for drawn in ("plots", EVENTS):
            for part in (folder / drawn).rglob(".*.part"):
                part.unlink(missing_ok=True)  # what a killed process was drawing
        write_run_plots(folder / "plots", epochs, rows, taught)
    except (InputError, OSError) as error:
        progress.note(f"without pictures: {error}")
    if not tensorboard:
        return
    from compress.render.event_files import EventFiles

    try:
        EventFiles(folder / EVENTS).write(epochs, rows)
    except InputError as error:
        progress.note(f"without event files: {error}")
