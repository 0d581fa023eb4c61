"""Writes an artifact folder whole or not at all."""

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import onnx

from compress import runtime
from compress.data.images import ImageSet, Splits
from compress.environment import version_of
from compress.errors import CompressError, ConfigError, InputError, UnusableError
from compress.files import behind_links, sha256_file, write_bytes, write_error, write_text
from compress.graph.ort_format import to_ort_format
from compress.graph.write import OLDEST_ONNXRUNTIME
from compress.identity import data_name
from compress.measure import golden as answers
from compress.measure.artifact import GOLDEN, LABELS, MANIFEST, MODEL_FILES
from compress.records.artifact import ArtifactFile, ArtifactManifest
from compress.records.model_card import ModelCard, Precision
from compress.records.run import INITIAL, UNLABELLED
from compress.stages.export_fidelity import evenly
from compress.stages.export_forms import Forms
from compress.stages.export_readme import readme
from compress.stages.export_sources import DATA_NOTES, Source

README = "README.md"
WRITTEN = frozenset(
    {MANIFEST, GOLDEN, LABELS, README, *MODEL_FILES.values()}
    | {Path(name).with_suffix(runtime.ORT).name for name in MODEL_FILES.values()}
)
"""Every name an artifact may have in its folder."""
RANDOM = "[a-z0-9_]" * 8
"""What `tempfile.mkdtemp` puts between prefix and suffix, as a glob; it has no dot."""
TOOLS = ("compress-edge", "onnx", "onnxruntime", "onnxscript", "onnxsim", "numpy", "torch")


def check_free(folder: Path, source: Source, *, force: bool) -> None:
    """Refuse, before any work, to replace what is not this model's own artifact.

    A `manifest.json` alone makes no artifact unless it reads as one: other programs use that name.

    Raises:
        ConfigError: An artifact of another run lies there, or something else does.
        InputError: A file stands in the way.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file", hint="choose another --out")
    entries = [entry.name for entry in folder.iterdir()]
    if not entries:
        return
    try:
        manifest = ArtifactManifest.read(folder / MANIFEST)
    except CompressError as error:
        if not set(MODEL_FILES.values()) & set(entries):
            raise ConfigError(
                f"{folder} holds {sorted(entries)[0]} and is no artifact",
                hint="choose another --out",
            ) from error
        if force:
            return
        raise ConfigError(
            f"{folder} holds an artifact that cannot be read: {error.message}",
            hint="--force replaces it",
        ) from error
    same = (
        manifest.run == source.run
        if source.run is not None or manifest.run is not None
        else manifest.card.weights_sha256 == source.weights_sha256
    )
    if not same and not force:
        whose = f"run {manifest.run}" if manifest.run else "another weights file"
        raise ConfigError(
            f"{folder} holds an artifact of {whose}", hint="--force replaces it, --out avoids it"
        )


def other_trainings(place: Path, sources: Sequence[Source]) -> list[str]:
    """What lies in a folder of artifacts from another training of the same run, in words.

    A run that is trained again, or in another place, has the same id and other weights.

    Args:
        place: Holds one artifact folder for each label.
        sources: What will be exported to it.
    """
    now = {source.label: source for source in sources}
    notes = []
    for folder in sorted(place.iterdir()) if place.is_dir() else ():
        if folder.name.startswith("."):  # what `replacing` makes for a while
            continue
        try:
            manifest = ArtifactManifest.read(folder / MANIFEST)
        except CompressError:
            continue
        if manifest.run is None or manifest.run != sources[0].run:
            continue
        whose = f"{folder} is of another training of run {manifest.run}"
        own = now.get(folder.name)
        if own is not None and manifest.card.weights_sha256 != own.weights_sha256:
            notes.append(f"{whose}, with other weights: it is replaced")
        elif own is None and manifest.parents.get("run") != sources[0].run_sha256:
            notes.append(f"{whose}, and stays: it was not trained with what is exported now")
    return notes


def ort_name(precision: Precision) -> str:
    """The file of a form in ONNX Runtime's own format."""
    return Path(MODEL_FILES[precision]).with_suffix(runtime.ORT).name


@contextmanager
def _held(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a folder for this process: whether it is held, which no other process then is told.

    The lock goes with the process, however it ends. Where a file system has no locks, none is held.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = True
        except OSError:
            held = False
        yield held
    finally:
        os.close(handle)


def _recover(folder: Path) -> None:
    """Bring back what a process was replacing when it was killed, and remove what it left.

    What another process is filling is left alone: it holds that. So is what belongs to a label
    that goes on after a dot, as `a.5` after `a`.
    """
    name = glob.escape(f".{folder.name}.") + RANDOM
    for old in sorted(folder.parent.glob(f"{name}.old")):
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.replace(folder)
    for part in folder.parent.glob(f"{name}.part"):
        with suppress(OSError), _held(part, wait=False) as held:
            if held:
                shutil.rmtree(part, ignore_errors=True)


def _carry_over(folder: Path, part: Path) -> None:
    """Give the new folder what lies in the old one and is no file of the old artifact.

    Nothing leaves the old folder: until that is removed, a file has both names. A name that the new
    artifact has itself is the artifact's.
    """
    try:
        own = {MANIFEST, *ArtifactManifest.read(folder / MANIFEST).files}
    except CompressError:
        own = set(WRITTEN)
    for entry in folder.iterdir():
        if entry.name not in own and not os.path.lexists(part / entry.name):
            _link(entry, part / entry.name)


def _link(entry: Path, target: Path) -> None:
    """Give a file a second name, or a folder's files; copies where the file system has no links."""
    if entry.is_dir() and not entry.is_symlink():
        target.mkdir()
        for inner in entry.iterdir():
            _link(inner, target / inner.name)
        shutil.copystat(entry, target)
        return
    try:
        os.link(entry, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(entry, target, follow_symlinks=False)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A temporary sibling to fill; it takes the final name only when the block succeeds.

    What a user laid beside the files of an earlier artifact (a program, notes, folders) lies in the
    new folder too. What a symbolic link names is replaced, not the link.

    Raises:
        InputError: The place cannot be written, or the disk is full.
    """
    try:
        folder = behind_links(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack, _held(folder.parent, wait=True):
            # held together: nobody may find the new folder before it is held itself
            _recover(folder)
            name = tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent)
            part = Path(name)
            stack.enter_context(_held(part, wait=False))
            holding = stack.pop_all()
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        yield part
        part.chmod(0o755)
        old = part.with_suffix(".old")
        with _held(folder.parent, wait=True):
            # whoever starts between the two renames would bring the old folder back
            try:
                if folder.exists():
                    _carry_over(folder, part)
                    folder.replace(old)
                part.replace(folder)
            except BaseException:
                if old.exists() and not folder.exists():
                    old.replace(folder)
                raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise write_error(folder, error) from error
    finally:
        with suppress(OSError):
            shutil.rmtree(part)
        holding.close()


def write_artifact(
    folder: Path, *, source: Source, splits: Splits, forms: Forms, ort: bool
) -> ArtifactManifest:
    """Fill a folder with every file of an artifact; its bytes depend on nothing but the inputs.

    Args:
        folder: An empty one.
        source: The model.
        splits: Its images.
        forms: What was made of it.
        ort: Also write ONNX Runtime's own format.

    Raises:
        InputError: It cannot be written.
        UnusableError: The other format does not answer as the ONNX file does.
    """
    card = forms.cards["fp32"]
    files: dict[str, ArtifactFile] = {}
    for precision, data in forms.files.items():
        name = MODEL_FILES[precision]
        write_bytes(folder / name, data)
        files[name] = _model_entry(folder / name, precision, data)
    golden = _golden(splits.test, forms)
    answers.save_golden(folder / GOLDEN, golden)
    if ort:
        for precision in forms.files:
            path = _write_ort(folder, precision, forms, golden)
            files[path.name] = ArtifactFile(
                kind="ort",
                precision=precision,
                sha256=sha256_file(path),
                size_bytes=path.stat().st_size,
                oldest_onnxruntime=version_of("onnxruntime"),
            )
    write_text(folder / LABELS, "".join(f"{name}\n" for name in card.class_names))
    files[LABELS] = _entry(folder / LABELS, "labels")
    files[GOLDEN] = _entry(folder / GOLDEN, "golden")
    parents = {"weights": source.weights_sha256}
    if source.run_sha256 is not None:
        parents["run"] = source.run_sha256
    for split, images in (
        ("train", splits.train),
        ("validation", splits.validation),
        ("test", splits.test),
    ):
        parents[split] = images.sha256
    if source.unlabelled is not None:
        parents[UNLABELLED] = source.unlabelled.sha256
    if source.initial is not None:
        parents[INITIAL] = source.initial.sha256
    manifest = ArtifactManifest(
        label=source.label,
        role=source.role,
        run=source.run,
        card=card,
        files=files,
        parents=parents,
        calibration=forms.calibration,
        fidelity=tuple(forms.fidelity),
        quantization=forms.quantization,
        providers=tuple(forms.providers),
        tools={name: version for name in TOOLS if (version := version_of(name))},
        licence=source.licence,
        data_note=_data_note(card, source),
    )
    write_text(folder / README, readme(manifest))
    files = {**files, README: _entry(folder / README, "readme")}
    manifest = manifest.model_copy(update={"files": files})
    write_text(folder / MANIFEST, manifest.to_json())
    return manifest


def _data_note(card: ModelCard, source: Source) -> str:
    """What is known of the data; a folder may be called as a data set is.

    Args:
        card: Names the data.
        source: Knows what was trained on besides, and what it began with.
    """
    note = _known_of(str(card.dataset), named=card.dataset_kind != "folder")
    if source.unlabelled is not None:
        name = data_name(source.unlabelled.source)
        more = _known_of(name, named=source.unlabelled.source in DATA_NOTES)
        note += f"; besides, without labels: {more}"
    if source.initial is not None:
        begun = Path(source.initial.source).name
        note += f"; begun with the weights {begun}, and what these had learned from"
    return note


def _known_of(name: str, *, named: bool) -> str:
    """What is known of a data set, or that it is a folder."""
    return (DATA_NOTES.get(name) if named else None) or f"images of the user's own folder {name}"


def _entry(path: Path, kind: str) -> ArtifactFile:
    return ArtifactFile.model_validate(
        {"kind": kind, "sha256": sha256_file(path), "size_bytes": path.stat().st_size}
    )


def _model_entry(path: Path, precision: Precision, data: bytes) -> ArtifactFile:
    """A model file with its versions read back from it."""
    model = onnx.load_model_from_string(data)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    return ArtifactFile(
        kind="onnx",
        precision=precision,
        sha256=sha256_file(path),
        size_bytes=len(data),
        opset=opsets[""],
        ir_version=model.ir_version,
        oldest_onnxruntime=OLDEST_ONNXRUNTIME,
    )


def _golden(test: ImageSet, forms: Forms) -> answers.Golden:
    """What each form answers to some test images, computed by one thread."""
    card = forms.cards["fp32"]
    images = evenly(test, answers.how_many(card, len(forms.files)))
    inputs = runtime.prepare(images.images[:], card)
    expected = {}
    for precision, data in forms.files.items():
        lacking = runtime.lacks_arithmetic(forms.cards[precision].target)
        session = runtime.open_session(data, unsaturated=lacking)
        expected[precision] = runtime.raw_answers(session, inputs)
    labels = images.labels if images.labels is not None else np.empty(0, dtype=np.int64)
    return answers.Golden(inputs, labels, expected)


def _write_ort(folder: Path, precision: Precision, forms: Forms, golden: answers.Golden) -> Path:
    """Convert one form and compare its answers with the golden ones."""
    path = folder / ort_name(precision)
    card = forms.cards[precision]
    write_bytes(path, to_ort_format(forms.files[precision]))
    if runtime.stays_saturated(path, card.target):
        return path
    given = runtime.raw_answers(runtime.open_session(path), golden.inputs)
    found = answers.compare(golden.expected[precision], given, card)
    if not found.passed:
        raise UnusableError(
            f"{path.name} does not answer as {MODEL_FILES[precision]} does: {found.different} of "
            f"{found.images} images differ",
            hint="leave out --ort",
        )
    return path
