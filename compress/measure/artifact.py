"""Finds exported artifacts and opens them, on a machine that has neither torch nor onnx."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compress import runs
from compress.errors import InputError
from compress.files import sha256_file
from compress.onnx_bytes import read_checked
from compress.records.artifact import ArtifactManifest, of_an_artifact
from compress.records.model_card import PRECISIONS, ModelCard, Precision
from compress.runtime import open_session, read_card

EXPORTED = Path("exported")
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
LABELS = "labels.txt"
MODEL_FILES: dict[Precision, str] = {
    "fp32": "model.onnx",
    "fp16": "model.fp16.onnx",
    "int8": "model.int8.onnx",
}
SUFFIXES = (".onnx", ".ort")


@dataclass(frozen=True)
class Artifact:
    """One model in one or several forms.

    Attributes:
        label: The model's name in tables.
        place: The folder or the file it was opened from.
        card: Of its first form; every form's own card is in `cards`.
        files: Model file by precision, in the order fp32, fp16, int8.
        cards: Card by precision.
        manifest: None for a file alone.
        golden: The file of golden answers, or None.
    """

    label: str
    place: Path
    card: ModelCard
    files: Mapping[Precision, Path]
    cards: Mapping[Precision, ModelCard]
    manifest: ArtifactManifest | None = None
    golden: Path | None = field(default=None)


def resolve(name: str, *, exported: Path = EXPORTED) -> Path:
    """The place an argument names: a path, an export's id, a run that was exported, or `last`.

    Args:
        name: As typed.
        exported: The folder of exports.

    Raises:
        InputError: Nothing of that name.
    """
    if name == "last":
        return _last(exported)
    path = Path(name)
    if path.is_file() or (path.is_dir() and not _is_run(path)):
        return path
    if not path.is_dir() and (exported / name).is_dir():
        return exported / name
    if runs.is_run(name):
        place = exported / runs.read_manifest(runs.find_run(name)).id
        if place.is_dir():
            return place
        raise InputError(
            f"run {name} has not been exported: {place} does not exist",
            hint=f"run `compress export {name}` first",
        )
    raise InputError(
        f"no artifact {name!r}: neither a path nor a folder under {exported}/",
        hint="`compress export RUN` makes artifacts",
    )


def _is_run(folder: Path) -> bool:
    """Whether a folder is a run directory; an artifact's manifest has no command."""
    return "command" in (_manifest_keys(folder) or ())


def _manifest_keys(folder: Path) -> frozenset[str] | None:
    """The keys of a folder's manifest, none of what is no table; None where it is no JSON."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return frozenset(content) if isinstance(content, dict) else frozenset()


def _last(exported: Path) -> Path:
    """The newest complete run's export, and no older one; without runs the newest export."""
    newest = runs.newest_complete(lambda _: True)
    if newest is not None:
        folder, manifest = newest
        place = exported / manifest.id
        if place.is_dir():
            return place
        raise InputError(
            f"the newest complete run {folder} has not been exported: {place} does not exist",
            hint=f"run `compress export {folder}` first, or name an export",
        )
    folders = [path for path in exported.glob("*") if path.is_dir()] if exported.is_dir() else []
    if not folders:
        raise InputError(f"nothing under {exported}/", hint="`compress export RUN` makes artifacts")
    return max(folders, key=lambda path: path.stat().st_mtime_ns)


def find_artifacts(place: Path) -> list[Artifact]:
    """Every artifact at a place: a model file, an artifact folder, or a folder of these.

    Returns:
        The teacher first, then students and controls by label.

    Raises:
        InputError: Nothing there, or one of them is damaged.
    """
    if place.is_file() or _is_artifact(place):
        return [open_artifact(place)]
    # names with a dot in front are of exports that are being written
    folders = sorted(path for path in place.glob("[!.]*") if _is_artifact(path))
    if not folders:
        raise InputError(
            f"no artifact in {place}" if place.exists() else f"{place} does not exist",
            hint="an artifact is a folder with model.onnx, or a .onnx file",
        )
    found = [open_artifact(path) for path in folders]
    return sorted(found, key=lambda artifact: (artifact.card.role != "teacher", artifact.label))


def _is_artifact(folder: Path) -> bool:
    """Whether a folder looks like an exported model, complete or not."""
    if not folder.is_dir() or _is_run(folder):
        return False
    return of_an_artifact(_manifest_keys(folder) or frozenset()) or any(
        (folder / name).is_file() for name in MODEL_FILES.values()
    )


def open_artifact(place: Path, *, verify: bool = True) -> Artifact:
    """Read an artifact folder or a single model file.

    Args:
        place: The folder, or a `.onnx` or `.ort` file.
        verify: Compare every file of a folder with the manifest's sha256.

    Raises:
        InputError: Missing, altered, corrupt, truncated, or with weights outside its file.
    """
    if place.is_file():
        return _open_file(place)
    if not place.is_dir():
        raise InputError(f"{place} does not exist")
    manifest = _read_manifest(place)
    if manifest is not None and verify:
        verify_files(place, manifest)
    found = _forms(place, manifest)
    if not found:
        raise InputError(f"no model in {place}", hint="an artifact has at least model.onnx")
    files = {precision: found[precision][0] for precision in PRECISIONS if precision in found}
    cards = {precision: found[precision][1] for precision in files}
    card = cards[next(iter(cards))]
    golden = place / GOLDEN
    return Artifact(
        label=manifest.label if manifest else card.name,
        place=place,
        card=card,
        files=files,
        cards=cards,
        manifest=manifest,
        golden=golden if golden.is_file() else None,
    )


def _read_manifest(folder: Path) -> ArtifactManifest | None:
    """The manifest of an artifact; None without one, or where it is another program's.

    One that is no JSON is taken for a damaged one of ours.

    Raises:
        InputError: It is damaged, or of another schema.
    """
    if not (folder / MANIFEST).is_file():
        return None
    keys = _manifest_keys(folder)
    if keys is not None and not of_an_artifact(keys):
        return None
    return ArtifactManifest.read(folder / MANIFEST)


def _forms(
    place: Path, manifest: ArtifactManifest | None
) -> dict[Precision, tuple[Path, ModelCard]]:
    """The model files of a folder by what they are, whatever name one was deployed under."""
    found: dict[Precision, tuple[Path, ModelCard]] = {}
    for named, name in MODEL_FILES.items():
        path = place / name
        if not path.is_file() or (manifest is not None and name not in manifest.files):
            continue
        card = _card(path, _folder_name(place))
        precision = named if card.foreign else card.precision
        if precision in found:
            raise InputError(
                f"{found[precision][0]} and {path} are both {precision}",
                hint="keep one of them in the folder",
            )
        found[precision] = (path, card)
    return found


def _folder_name(folder: Path) -> str:
    """A folder's name as it was given; its own where that was `.` or ended in `..`."""
    return folder.name if folder.name not in ("", "..") else folder.resolve().name


def _open_file(path: Path) -> Artifact:
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} is no model file", hint="expected .onnx, .ort, or a folder")
    card = _card(path, path.stem)
    golden = path.parent / GOLDEN
    return Artifact(
        label=card.name,
        place=path,
        card=card,
        files={card.precision: path},
        cards={card.precision: card},
        golden=golden if golden.is_file() and not card.foreign else None,
    )


def _card(path: Path, name: str) -> ModelCard:
    """A model file's card, read without opening a session where that is possible."""
    if path.suffix == ".onnx":
        _, metadata = read_checked(path)
        card = ModelCard.from_metadata(metadata, source=str(path))
        if card is not None:
            return card
    return read_card(open_session(path), name=name, source=str(path))


def verify_files(folder: Path, manifest: ArtifactManifest) -> None:
    """Compare every file of an artifact with its manifest.

    Raises:
        InputError: A file is missing or altered.
    """
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise InputError(
                f"{path} is missing; {folder / MANIFEST} lists it",
                hint="copy the whole folder again, or export again",
            )
        actual = sha256_file(path)
        if actual != expected.sha256:
            raise InputError(
                f"{path} differs from its manifest (sha256 {actual[:12]}…, "
                f"expected {expected.sha256[:12]}…)",
                hint="copy it again from where it was exported, or export again",
            )
    labels = folder / LABELS
    if LABELS in manifest.files and manifest.card.class_names:
        names = labels.read_text(encoding="utf-8").splitlines()
        if len(names) != manifest.card.classes:
            raise InputError(
                f"{labels} has {len(names)} names, the model has {manifest.card.classes} classes"
            )
