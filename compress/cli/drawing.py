"""Pictures of a finished run: drawn after its stage has returned, no part of its manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.records.distill import DistillRecord, StudentRow


def draw(
    folder: Path,
    rows: "Sequence[StudentRow]",
    taught: "DistillRecord | None",
    *,
    tensorboard: bool,
) -> None:
    """Write a run's curves as PNG, and TensorBoard event files where asked for.

    Args:
        folder: The run directory.
        rows: Its students and controls.
        taught: The record they stand in, which has their teacher; None where nobody taught.
        tensorboard: Whether to write event files.

    Raises:
        InputError: A file cannot be written.
    """
    from compress.render.plots import write_run_plots
    from compress.runs import read_epochs

    for drawn in ("plots", "tensorboard"):
        for part in (folder / drawn).rglob(".*.part"):
            part.unlink(missing_ok=True)  # what a killed process was drawing
    epochs = read_epochs(folder)
    write_run_plots(folder / "plots", epochs, rows, taught)
    if tensorboard:
        from compress.render.event_files import write_event_files

        write_event_files(folder / "tensorboard", epochs, rows)
