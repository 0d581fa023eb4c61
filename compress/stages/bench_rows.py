"""Finds the model files that bench and gate are asked about, one row each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from compress.config.specs import Reference
from compress.errors import ConfigError, InputError
from compress.files import sha256_file
from compress.measure import artifact
from compress.measure.artifact import Artifact
from compress.models.normalization import read_normalization
from compress.records.bench import Role
from compress.records.model_card import ModelCard, Precision
from compress.runtime import lacks_arithmetic

FOREIGN_OPTIONS = ("normalization", "mean", "std", "role", "name")
QUANTIZED = (b"QLinearConv", b"QuantizeLinear", b"ConvInteger", b"MatMulInteger")
ROLES: tuple[Role, ...] = ("student", "control", "teacher")


@dataclass(frozen=True)
class Row:
    """One model file to measure.

    Attributes:
        name: Unique together with the precision.
        role: What it was in its run.
        precision: Number format of its arithmetic.
        path: The file.
        card: What it says about itself.
        sha256: Of the file.
        golden: Golden images beside it, or None.
        data_sha256: Of the test images it was exported with; None where nothing tells.
        untrained: Whether its answers mean nothing.
        group: "baseline:" for the rows of a gate's baseline.
    """

    name: str
    role: Role
    precision: Precision
    path: Path
    card: ModelCard
    sha256: str
    golden: Path | None = None
    data_sha256: str | None = None
    untrained: bool = False
    group: str = ""

    @property
    def label(self) -> str:
        """Name and precision."""
        return f"{self.name} {self.precision}"

    @property
    def key(self) -> str:
        """Unique among all rows of one measurement."""
        return self.group + self.label

    @property
    def unsaturated(self) -> bool:
        """Whether its answers need arithmetic that this CPU only has at another speed."""
        return lacks_arithmetic(self.card.target)


class Described(Protocol):
    """What rows to measure and rows of a record have in common."""

    @property
    def name(self) -> str:
        """Label of the model."""
        ...

    @property
    def precision(self) -> str:
        """Number format."""
        ...

    @property
    def role(self) -> str:
        """student, control or teacher."""
        ...


Found = TypeVar("Found", bound=Described)


def students(rows: Iterable[Described]) -> list[tuple[str, str]]:
    """Name and precision of every form that may be judged: every one but the teacher's."""
    return [(row.name, row.precision) for row in rows if row.role != "teacher"]


def is_renamed(rows: Iterable[Described], baseline: Iterable[Described]) -> bool:
    """Whether a model may have another name than in the baseline: each side has just one.

    Args:
        rows: All of the target, also those that are not judged.
        baseline: All of it.
    """
    return all(len({name for name, _ in students(side)}) == 1 for side in (rows, baseline))


def counterpart(row: Described, baseline: Sequence[Found], *, renamed: bool) -> Found | None:
    """The row of a baseline that a row is the new version of.

    It has the same precision, and the same name unless that may differ.

    Args:
        row: Of the target.
        baseline: Where to look.
        renamed: As `is_renamed` says of both whole sides.
    """
    others = [other for other in baseline if other.precision == row.precision]
    named = (other for other in others if other.name == row.name)
    alone = (other for other in others if renamed and other.role != "teacher")
    return next(named, None) or next(alone, None)


def float_form(row: Row, rows: Sequence[Row]) -> Row | None:
    """The float32 form of a model; one file that two folders hold is a row of one of them alone.

    What is known to have other weights is another model, whatever it is called.
    """
    weights = row.card.weights_sha256
    known = {None, weights}
    floats = [
        other
        for other in rows
        if other.precision == "fp32" and (weights is None or other.card.weights_sha256 in known)
    ]
    named = (other for other in floats if other.name == row.name)
    made_of = (o for o in floats if weights is not None and o.card.weights_sha256 == weights)
    return next(named, None) or next(made_of, None)


def collect(
    targets: Sequence[Reference], *, teacher: Reference | None = None
) -> tuple[list[Row], list[str]]:
    """The rows of some targets, and of a teacher from elsewhere.

    Args:
        targets: Export folders, artifact folders, model files, runs or `last`.
        teacher: Takes the place of the targets' own.

    Returns:
        The rows, the teacher's first, and what is worth saying about them.

    Raises:
        ConfigError: An option of a target is unknown or does not fit it.
        InputError: A target is missing or damaged.
    """
    notes: list[str] = []
    rows = [row for target in targets for row in _rows(target)]
    if teacher is not None:
        own = [row for row in rows if row.role == "teacher"]
        given = _teacher_rows(teacher)
        shas = {row.sha256 for row in given}
        if own and shas.isdisjoint(row.sha256 for row in own):
            notes.append(f"compared with {teacher}, not with the teacher of {targets[0]}")
        rows = given + [row for row in rows if row.role != "teacher" and row.sha256 not in shas]
    rows = _without_repeats(rows)
    teachers = {row.card.weights_sha256 or row.name for row in rows if row.role == "teacher"}
    if len(teachers) > 1:
        notes.append(f"several teachers: compared with the first, {rows[0].name}")
    return rows, notes


def _rows(reference: Reference) -> list[Row]:
    place = artifact.resolve(reference.target)
    found = artifact.find_artifacts(place)
    if reference.options and len(found) > 1:
        raise ConfigError(
            f"options after {reference.target}, which holds {len(found)} models",
            hint="give options to one model file",
        )
    return [
        Row(
            name=card.name if card.foreign else each.label,
            role=card.role,
            precision=card.precision,
            path=path,
            card=card,
            sha256=sha256_file(path),
            golden=each.golden,
            data_sha256=card.dataset_sha256
            or (each.manifest.parents.get("test") if each.manifest else None),
        )
        for each in found
        for path, card in _described(each, reference)
    ]


def _described(found: Artifact, reference: Reference) -> list[tuple[Path, ModelCard]]:
    """An artifact's files with their cards, completed by the options after its name."""
    pairs = []
    for precision, path in found.files.items():
        card = found.cards[precision]
        if card.foreign:
            fields = _foreign_fields(path, reference, called=precision)
            card = card.model_copy(update=fields)
        elif reference.options:
            raise ConfigError(
                f"options after {reference.target}, which describes itself",
                hint="leave them out; they are for model files from elsewhere",
            )
        pairs.append((path, card))
    return pairs


def _foreign_fields(path: Path, reference: Reference, *, called: Precision) -> dict[str, object]:
    """What a person says, or the file shows, of a model without our metadata.

    Args:
        path: The file.
        reference: What the person says.
        called: The number format in the file's name.

    Raises:
        ConfigError: An option is unknown.
    """
    options = reference.options
    unknown = [key for key in options if key not in FOREIGN_OPTIONS]
    if unknown:
        raise ConfigError(
            f"unknown option {unknown[0]!r} of {reference.target}",
            hint=f"known: {', '.join(FOREIGN_OPTIONS)}",
        )
    fields: dict[str, object] = {"precision": _precision(path, called)}
    if {"normalization", "mean", "std"} & set(options):
        normalization = read_normalization(options)
        fields |= {"mean": normalization.mean, "std": normalization.std}
    if "role" in options:
        if options["role"] not in ROLES:
            raise ConfigError(
                f"unknown role {options['role']!r}", hint=f"known: {', '.join(ROLES)}"
            )
        fields["role"] = options["role"]
    if "name" in options:
        fields["name"] = str(options["name"])
    return fields


def _precision(path: Path, called: Precision) -> Precision:
    """The number format of a file without our metadata, by the operators it names.

    Half precision shows in no operator, so there the file's name counts.
    """
    if called == "fp16":
        return called
    content = path.read_bytes()
    return "int8" if any(name in content for name in QUANTIZED) else "fp32"


def _teacher_rows(reference: Reference) -> list[Row]:
    """One model as the teacher, in its float form where it has one."""
    rows = _rows(reference)
    names = list(dict.fromkeys(row.name for row in rows))
    if len(names) > 1:
        rows = [row for row in rows if row.role == "teacher"]
        if not rows:
            raise ConfigError(
                f"--teacher {reference} holds {', '.join(names)} and no teacher",
                hint="name one artifact folder or .onnx file",
            )
    return [replace(rows[0], role="teacher")]


def _without_repeats(rows: list[Row]) -> list[Row]:
    """Each file once, teachers first, and other files of one name told apart by their folders."""
    first: dict[tuple[str, Precision], Row] = {}
    for row in rows:
        first.setdefault((row.sha256, row.precision), row)
    once = list(first.values())
    labels = [row.label for row in once]
    shared = {row.name for row in once if labels.count(row.label) > 1}
    told_apart = [
        replace(row, name=_longer_name(row)) if row.name in shared else row for row in once
    ]
    labels = [row.label for row in told_apart]
    for row in told_apart:
        if labels.count(row.label) > 1:
            raise InputError(
                f"two files are called {row.label}: {row.path}",
                hint="copy them to folders of different names",
            )
    return sorted(told_apart, key=lambda row: row.role != "teacher")


def _longer_name(row: Row) -> str:
    """A name with the folder that holds the artifact, or the file."""
    folder = row.path.resolve().parent
    inside = folder.parent if folder.name == row.name else folder
    return f"{inside.name}/{row.name}"
