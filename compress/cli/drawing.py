"""Pictures of a finished run: drawn after its stage has returned, no part of its manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.progress import Progress
    from compress.records.distill import DistillRecord, StudentRow


def draw(
    folder: Path,
    rows: "Sequence[StudentRow]",
    taught: "DistillRecord | None",
    *,
    tensorboard: bool,
    progress: "Progress",
) -> None:
    """Write a run's curves as PNG, and TensorBoard event files where asked for.

    The result stands without the pictures: where there is no room for them, that is a note.

    Args:
        folder: The run directory.
        rows: Its students and controls.
        taught: The record they stand in, which has their teacher; None where nobody taught.
        tensorboard: Whether to write event files.
        progress: Told of what cannot be drawn.

    Raises:
        InputError: The event files cannot be written.
    """
    from compress.errors import InputError
    from compress.render.plots import write_run_plots
    from compress.runs import read_epochs

    epochs = read_epochs(folder)
    try:
        for drawn in ("plots", "tensorboard"):
            for part in (folder / drawn).rglob(".*.part"):
                part.unlink(missing_ok=True)  # what a killed process was drawing
        write_run_plots(folder / "plots", epochs, rows, taught)
    except (InputError, OSError) as error:
        progress.note(f"without pictures: {error}")
    if tensorboard:
        from compress.render.event_files import write_event_files

        write_event_files(folder / "tensorboard", epochs, rows)
