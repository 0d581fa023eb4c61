"""Rows of tiny models, and the images that a bench finds for them."""

from pathlib import Path
from typing import Any

from compress.config.bench import BenchConfig
from compress.config.specs import Reference
from compress.progress import Silent
from compress.stages.bench_images import AskedImages, load_images
from compress.stages.bench_rows import Row, collect

LABELS = [0, 1, 2] * 40


def rows(place: Path) -> dict[str, Row]:
    """The rows of a target, by label."""
    return {row.label: row for row in collect([Reference(target=str(place))])[0]}


def load(found: dict[str, Row], **options: Any) -> AskedImages:
    """The images for some rows, with these options of a bench."""
    config = BenchConfig.model_validate({"targets": ["x"], **options})
    return load_images(list(found.values()), config, Silent())
