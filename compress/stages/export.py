"""`compress export`: models become checked, simplified, quantized ONNX artifacts."""

import time
from pathlib import Path

from compress import runtime
from compress.config.export import ExportConfig
from compress.data.images import Splits
from compress.environment import read_environment
from compress.measure.artifact import EXPORTED
from compress.progress import Progress, Silent
from compress.records.export import ExportRecord, ExportRow
from compress.stages import export_sources
from compress.stages.export_folder import (
    check_free,
    ort_name,
    other_trainings,
    replacing,
    write_artifact,
)
from compress.stages.export_forms import FormMaker
from compress.stages.export_sources import Source


def export(config: ExportConfig, *, progress: Progress | None = None) -> ExportRecord:
    """Export the models of a run, or of a weights file.

    Each artifact is written to a temporary folder and renamed when it is whole and proven; an
    earlier one stays until then. A form that is not good enough is left out and reported as a
    problem; the rest of its artifact stays.

    Args:
        config: What was asked for.
        progress: Told what happens.

    Raises:
        ConfigError: Nothing of that name, options that do not fit, another run's artifact there.
        InputError: A run, file or image set is missing, unfinished, altered, or does not fit; the
            place cannot be written.
        UnusableError: A graph does not compute what torch computes; nothing is written for it.
    """
    shown = progress or Silent()
    found = export_sources.find(config, shown)
    place = config.out or EXPORTED / found.id
    for source in found.sources:
        check_free(place / source.label, source, force=config.force)
    for note in other_trainings(place, found.sources):
        shown.note(note)
    rows = [_one(place, source, found.splits, config, shown) for source in found.sources]
    return ExportRecord(
        source=str(config.source), artifacts=tuple(rows), environment=read_environment()
    )


def _one(
    place: Path, source: Source, splits: Splits, config: ExportConfig, progress: Progress
) -> ExportRow:
    began = time.perf_counter()
    folder = place / source.label
    with replacing(folder) as part:
        forms = FormMaker(source, splits, config, progress).make()
        manifest = write_artifact(part, source=source, splits=splits, forms=forms, ort=config.ort)
    for precision, card in forms.cards.items():
        file = folder / ort_name(precision)
        if file.name in manifest.files and runtime.stays_saturated(file, card.target):
            progress.note(f"{file}: not compared, this CPU lacks the arithmetic of {card.target}")
    for problem in forms.problems:
        progress.note(f"{source.label}: {problem}")
    progress.note(f"{folder}: {', '.join(manifest.files)}")
    return ExportRow(
        folder=str(folder),
        manifest=manifest,
        problems=tuple(forms.problems),
        seconds=time.perf_counter() - began,
    )
