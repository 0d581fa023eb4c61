"""`compress list`: what there is to choose from, and what was made."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from compress.cache import cache_folder
from compress.config import recipes
from compress.config.distill import DistillConfig, plan_students
from compress.config.list import ListConfig
from compress.config.specs import LossTerm
from compress.errors import ConfigError, InputError
from compress.locks import is_held
from compress.progress import Progress, Silent
from compress.records.distill import DistillRecord, StudentRow
from compress.records.list import (
    DataEntry,
    ListRecord,
    LossEntry,
    ModelEntry,
    RecipeEntry,
    RunEntry,
)
from compress.records.run import EpochRecord, RunManifest
from compress.records.train import TrainRecord
from compress.runs import LOCK, MANIFEST, RECORD, RUNS, all_runs, read_epochs, read_manifest

CLASSES = 10
IMAGE_SIZE = 32
"""What models are counted at: CIFAR-10's."""
DIVERGED = "diverged"
"""As in training/results.py, which would bring torch along."""


def list_choices(
    config: ListConfig,
    *,
    progress: Progress = Silent(),  # noqa: B008 - it has no state
) -> ListRecord:
    """Make one of the lists.

    Args:
        config: Which.
        progress: Told of models being counted.

    Raises:
        ConfigError: A recipe that comes with the package is broken.
    """
    if config.what == "runs":
        return ListRecord(what="runs", place=str(RUNS), entries=_runs(RUNS))
    if config.what == "soft-labels":
        from compress.training.soft_labels import list_sets

        folder = config.soft_labels or cache_folder() / "soft-labels"
        return ListRecord(what="soft-labels", place=str(folder), entries=tuple(list_sets(folder)))
    if config.what == "models":
        return ListRecord(what="models", entries=_models(progress))
    makers: Mapping[str, Callable[[], Sequence[LossEntry | DataEntry | RecipeEntry]]] = {
        "losses": _losses,
        "data": _data,
        "recipes": _recipes,
    }
    return ListRecord.model_validate({"what": config.what, "entries": makers[config.what]()})


def _models(progress: Progress) -> tuple[ModelEntry, ...]:
    from compress.models import cost, registry

    entries = []
    names = sorted(registry.names(), key=_numerically)
    progress.start("counting", total=len(names), unit="model")
    for name in names:
        model = registry.build(name, classes=CLASSES, image_size=IMAGE_SIZE, options={})
        entries.append(
            ModelEntry(
                name=name,
                summary=registry.summary(name),
                options=registry.resolve_options(name, image_size=IMAGE_SIZE, options={}),
                parameters=cost.parameters(model),
                macs=cost.macs(model, IMAGE_SIZE),
            )
        )
        progress.advance()
    progress.finish()
    return tuple(entries)


def _numerically(name: str) -> list[tuple[str, int]]:
    """A sort key that puts resnet8 before resnet14."""
    return [(text, int(part or 0)) for text, part in re.findall(r"(\D*)(\d*)", name)]


def _losses() -> tuple[LossEntry, ...]:
    from compress.losses import registry

    return tuple(
        LossEntry(
            name=name,
            summary=registry.SUMMARIES[name],
            options=registry.resolve_options(LossTerm(name=name)),
            needs_features=registry.needs_features(name),
            mixed_labels=registry.supports_mixed_labels(name),
        )
        for name in registry.names()
    )


def _data() -> tuple[DataEntry, ...]:
    from compress.data.cifar import roots
    from compress.data.cifar_layouts import CIFAR10, CIFAR100, SIDE

    entries = [
        DataEntry(
            name="digits",
            summary="real handwritten digits; part of scikit-learn",
            train_images=1437,
            test_images=360,
            classes=10,
            image_size=8,
            found="installed" if find_spec("sklearn") else None,
        )
    ]
    for layouts in (CIFAR10, CIFAR100):
        places = [
            place
            for root in roots(None, layouts[0].dataset)
            for layout in layouts
            for place in (root / layout.folder, root / layout.archive.name, root)
            if place.exists() and (place != root or root.name == layout.folder)
        ]
        first = layouts[0]
        entries.append(
            DataEntry(
                name=first.dataset,
                summary="small photographs; downloaded by what needs training images",
                train_images=sum(file.rows for file in first.train),
                test_images=sum(file.rows for file in first.test),
                classes=len(first.class_names),
                image_size=SIDE,
                found=str(places[0]) if places else None,
            )
        )
    folder = DataEntry(
        name="FOLDER",
        summary="your own pictures: train/<class>/*, test/<class>/*, and perhaps val/<class>/*",
        train_images=None,
        test_images=None,
        classes=None,
        image_size=None,
        found=None,
    )
    return (*entries, folder)


def _recipes() -> tuple[RecipeEntry, ...]:
    return tuple(
        RecipeEntry(
            name=name, about=recipes.about(name).model_dump(mode="json", exclude_unset=True)
        )
        for name in recipes.names()
    )


def _runs(root: Path) -> tuple[RunEntry, ...]:
    return tuple(_run(folder) for folder in all_runs(root))


def _run(folder: Path) -> RunEntry:
    begun = folder / LOCK if (folder / LOCK).exists() else folder / MANIFEST
    moment = datetime.fromtimestamp(begun.stat().st_mtime).astimezone()
    entry = RunEntry(
        run=folder.name,
        folder=str(folder),
        status="damaged",
        begun=moment.isoformat(timespec="seconds"),
    )
    try:
        manifest = read_manifest(folder)
        epochs = read_epochs(folder)
        best = _best(folder, manifest.command) if manifest.status == "complete" else None
    except InputError as error:
        return entry.model_copy(update={"reason": error.message})
    except OSError as error:
        return entry.model_copy(
            update={"reason": f"cannot read {error.filename}: {error.strerror}"}
        )
    stopped = manifest.status == "running" and not is_held(folder / LOCK)
    asked = manifest.config.get("epochs")
    initial = manifest.config.get("initial_weights")
    return entry.model_copy(
        update={
            "status": "interrupted" if stopped else manifest.status,
            "command": manifest.command,
            "data": manifest.config.get("data"),
            "epochs_done": _epochs_done(folder, manifest, epochs),
            "epochs": asked if isinstance(asked, int) else None,
            "initial_weights": initial.get("target") if isinstance(initial, dict) else None,
            "best": best.label if best else None,
            "top1": best.top1 if best else None,
            "reason": manifest.reason,
        }
    )


def _epochs_done(folder: Path, manifest: RunManifest, epochs: Sequence[EpochRecord]) -> int:
    """Epochs averaged over the students, but for those that were left out."""
    done: dict[str, int] = {}
    for one in epochs:
        done[one.label] = max(one.epoch, done.get(one.label, 0))
    if manifest.status == "complete":
        return max(done.values(), default=0)
    planned = _planned(manifest)
    labels = planned if planned >= done.keys() else set(done)
    diverged = {path.stem for path in (folder / DIVERGED).glob("*.json")}
    counted = labels - diverged
    return sum(done.get(label, 0) for label in counted) // len(counted) if counted else 0


def _planned(manifest: RunManifest) -> set[str]:
    """Who is to be trained in groups; empty for others, and where another version planned it."""
    if manifest.command != "distill":
        return set()  # all its models train at once
    try:
        return {plan.label for plan in plan_students(DistillConfig.model_validate(manifest.config))}
    except (ValidationError, ConfigError):
        return set()


def _best(folder: Path, command: str) -> StudentRow | None:
    """The student a complete run would choose, by validation top-1."""
    rows: Sequence[StudentRow]
    if command == "distill":
        rows = DistillRecord.read(folder / RECORD).students
    else:
        rows = TrainRecord.read(folder / RECORD).models
    students = [row for row in rows if row.role == "student"] or rows
    return max(students, key=lambda row: row.val_top1, default=None)
