"""What `compress export` starts from: the models of a run or a weights file, and their images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from compress.config.export import ExportConfig
from compress.config.specs import Reference
from compress.data import registry as data
from compress.data.images import Splits
from compress.errors import ConfigError, InputError
from compress.files import seen_from, sha256_file
from compress.identity import data_name
from compress.models import cost, weights
from compress.models.normalized import Normalized
from compress.models.weights import Weights, WeightsHeader
from compress.progress import Progress
from compress.records.model_card import DataKind, Layout, Role
from compress.records.run import INITIAL, UNLABELLED, InputRecord, RunManifest
from compress.runs import MANIFEST, RECORD, checked_file, complete_run, find_run, is_run

UNKNOWN_LICENCE = "not stated with the weights"
OWN_LICENCE = "trained by the user of compress; theirs to choose"
DATA_NOTES = {
    "cifar10": "CIFAR-10; no licence is stated; cite Krizhevsky, 'Learning Multiple Layers of "
    "Features from Tiny Images', 2009",
    "cifar100": "CIFAR-100; no licence is stated; cite Krizhevsky, 'Learning Multiple Layers of "
    "Features from Tiny Images', 2009",
    "digits": "Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998), CC BY 4.0, "
    "as in scikit-learn",
}


@dataclass(frozen=True)
class Source:
    """One model to export.

    Attributes:
        label: Its name in tables and its folder.
        role: What it was in its run.
        networks: The network, or the members of an ensemble, in evaluation mode on the CPU.
        headers: Of the same, nothing left open.
        weights_sha256: Of the weights file; of several, over their digests.
        run: Id of the run; None for a weights file.
        run_sha256: Of the run's manifest.
        licence: Of the weights, as far as known.
        data_kind: Whether its images are a data set with a name, or a folder of the user's.
        unlabelled: The images without labels that it was trained on besides; None where there were
            none, or nothing tells.
        initial: The weights it began with; None where its seed drew them, or nothing tells.
    """

    label: str
    role: Role
    networks: tuple[nn.Module, ...]
    headers: tuple[WeightsHeader, ...]
    weights_sha256: str
    run: str | None
    run_sha256: str | None
    licence: str
    data_kind: DataKind = "named"
    unlabelled: InputRecord | None = None
    initial: InputRecord | None = None

    @property
    def architecture(self) -> str:
        """The registered model name; of an ensemble all its members'."""
        return "+".join(header.model for header in self.headers)

    @property
    def parameters(self) -> int:
        """Numbers that were learned."""
        return sum(cost.parameters(network) for network in self.networks)

    def macs(self, image_size: int, channels: int) -> int:
        """Multiply-accumulates of one image."""
        return sum(cost.macs(n, image_size, channels=channels) for n in self.networks)

    def classifier(self, layout: Layout) -> nn.Module:
        """The module to write as a graph: from uint8 or normalised float NCHW to logits.

        Raises:
            ConfigError: Members of an ensemble want their floats normalised differently.
        """
        if layout == "float-nchw":
            if len({(header.mean, header.std) for header in self.headers}) > 1:
                raise ConfigError(
                    f"{self.label} averages models with different normalisations",
                    hint="use --input uint8-nhwc, or --no-teacher",
                )
            return _single_or_average(list(self.networks))
        return _single_or_average(
            [
                Normalized(network, mean=header.mean, std=header.std)
                for network, header in zip(self.networks, self.headers, strict=True)
            ]
        ).eval()


class _Average(nn.Module):
    """Logarithm of the mean softmax of several classifiers, which answers as they do together."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits (batch, classes)."""
        shares = [torch.softmax(member(images), dim=1) for member in self.members]
        return torch.log(torch.stack(shares).mean(dim=0).clamp_min(1e-30))


def _single_or_average(members: list[nn.Module]) -> nn.Module:
    return members[0] if len(members) == 1 else _Average(members).eval()


@dataclass(frozen=True)
class Found:
    """Everything an export needs.

    Attributes:
        id: Name of the folder under exported/.
        sources: Students first, then the teacher.
        splits: The images.
    """

    id: str
    sources: tuple[Source, ...]
    splits: Splits


def find(config: ExportConfig, progress: Progress) -> Found:
    """Read the models and images that an export was asked for.

    Raises:
        InputError: A run, file or image set is missing, unfinished, altered, or does not fit.
        ConfigError: Nothing of that name, or the description of a weights file is incomplete.
    """
    target = config.source.target
    if is_run(target) and not Path(target).is_file():
        return _from_run(find_run(target), config, progress)
    if Path(target).is_dir():
        raise InputError(f"no run in {target}: {MANIFEST} is missing")
    if Path(target).suffix == ".onnx":
        raise ConfigError(
            f"{target} is already an ONNX file",
            hint="export the run or the weights it was made from",
        )
    if Path(target).is_file():
        return _from_file(config, progress)
    raise InputError(
        f"nothing to export in {target!r}: neither a run nor a weights file",
        hint="`compress list runs` shows the runs; a file needs "
        "FILE:model=NAME,normalization=… and --data",
    )


def _from_run(folder: Path, config: ExportConfig, progress: Progress) -> Found:
    if config.source.options:
        raise ConfigError(f"{config.source.target} is a run and takes no options after its name")
    manifest = complete_run(folder)
    roles = _roles(folder, manifest)
    labels = _chosen_labels(folder, roles, config.student)
    splits = _run_splits(folder, manifest, config, progress)
    kind = _data_kind(_data_name(config, manifest, folder))
    run_sha256 = sha256_file(folder / MANIFEST)
    sources = []
    for label in labels:
        licence_open = manifest.beginning(label).get("licence_open", False)
        path = checked_file(folder, manifest, f"students/{label}.safetensors")
        source = _source(
            [weights.load(path, {})],
            splits,
            label=label,
            role=roles[label],
            run=manifest.id,
            run_sha256=run_sha256,
            licence=UNKNOWN_LICENCE if licence_open else OWN_LICENCE,
            data_kind=kind,
            unlabelled=manifest.inputs.get(UNLABELLED),
            initial=manifest.inputs.get(f"{INITIAL} of {label}"),
        )
        sources.append(source)
    if config.teacher and manifest.command == "distill":
        teacher = _teacher(folder, manifest, splits, run_sha256, progress)
        sources += [] if teacher is None else [replace(teacher, data_kind=kind)]
    return Found(manifest.id, tuple(sources), splits)


def _roles(folder: Path, manifest: RunManifest) -> dict[str, Role]:
    """Every label of a run with what it was; a run of `train` has no control to compare with."""
    controls: set[str] = set()
    if manifest.command == "distill" and RECORD in manifest.artifacts:
        record = json.loads(checked_file(folder, manifest, RECORD).read_text(encoding="utf-8"))
        controls = {row["label"] for row in record["students"] if row["role"] == "control"}
    return {label: "control" if label in controls else "student" for label in manifest.labels}


def _chosen_labels(folder: Path, roles: dict[str, Role], asked: Sequence[str]) -> list[str]:
    known = ", ".join(roles)
    for label in asked:
        if label not in roles:
            raise ConfigError(f"run {folder} has no student {label!r}", hint=f"it has {known}")
    chosen = list(dict.fromkeys(asked)) or [
        label for label, role in roles.items() if role == "student"
    ]
    if not chosen:
        raise ConfigError(
            f"run {folder} has no student that is no control",
            hint=f"name one with --student: {known}",
        )
    return chosen


def _data_name(config: ExportConfig, manifest: RunManifest, folder: Path) -> str:
    return config.data or data.named_by(folder, str(manifest.config["data"]))


def _data_kind(name: str) -> DataKind:
    return "named" if data.is_named(name) else "folder"


def _run_splits(
    folder: Path, manifest: RunManifest, config: ExportConfig, progress: Progress
) -> Splits:
    """The run's images, equal to those it was trained on."""
    asked = manifest.config
    directory = config.data_dir or data.still_there(asked.get("data_dir"))
    name = _data_name(config, manifest, folder)
    splits = data.load(
        name,
        data_dir=directory,
        image_size=asked.get("image_size"),
        validation_fraction=asked["validation_fraction"],
        split_seed=asked["split_seed"],
        download=True,
        progress=progress,
    )
    pinned = manifest.data_sha256
    if pinned is not None and pinned != splits.sha256:
        raise InputError(
            f"{name} is not the data of run {folder} (sha256 {splits.sha256[:12]}…, "
            f"expected {pinned[:12]}…)",
            hint="give the images it was trained on with --data and --data-dir",
        )
    return splits


def _teacher(
    folder: Path, manifest: RunManifest, splits: Splits, run_sha256: str, progress: Progress
) -> Source | None:
    """The run's teacher, or None with a note where its weights are gone."""
    pins = manifest.choices.get("teacher")
    if not pins:
        progress.note("teacher left out: the run learned from stored soft labels alone")
        return None
    members = []
    foreign = False
    for pin in pins:
        path = seen_from(folder, pin["path"], sha256=pin["sha256"])
        if not path.is_file():
            progress.note(f"teacher left out: its weights {path} are gone")
            return None
        member = weights.load(path, pin["options"])
        if member.sha256 != pin["sha256"]:
            raise InputError(
                f"teacher {path} changed since the run (sha256 {member.sha256[:12]}…, "
                f"expected {pin['sha256'][:12]}…)",
                hint="bring the old weights back, or use --no-teacher",
            )
        members.append(member)
        foreign |= bool(pin["options"])
    return _source(
        members,
        splits,
        label="teacher",
        role="teacher",
        run=manifest.id,
        run_sha256=run_sha256,
        licence=UNKNOWN_LICENCE if foreign else OWN_LICENCE,
    )


def _from_file(config: ExportConfig, progress: Progress) -> Found:
    """A weights file alone, with the images that --data names."""
    reference: Reference = config.source
    if config.student:
        raise ConfigError(f"--student goes with a run; {reference.target} is one model")
    if config.data is None:
        raise ConfigError(
            f"{reference.target} does not name its images",
            hint="add --data cifar10, or a folder of train/<class>/* and test/<class>/*",
        )
    found = weights.load(Path(reference.target), reference.options)
    splits = data.load(
        config.data,
        data_dir=config.data_dir,
        image_size=found.header.image_size,
        download=True,
        progress=progress,
    )
    name = data_name(config.data)
    label = found.header.model
    source = _source(
        [found],
        splits,
        label=label,
        role="student",
        run=None,
        run_sha256=None,
        licence=UNKNOWN_LICENCE if reference.options else OWN_LICENCE,
        data_kind=_data_kind(config.data),
    )
    return Found(f"{name}-{label}-{found.sha256[:8]}", (source,), splits)


def _source(
    members: Sequence[Weights],
    splits: Splits,
    *,
    label: str,
    role: Role,
    run: str | None,
    run_sha256: str | None,
    licence: str,
    data_kind: DataKind = "named",
    unlabelled: InputRecord | None = None,
    initial: InputRecord | None = None,
) -> Source:
    size = splits.image_size
    digests = [member.sha256 for member in members]
    return Source(
        label=label,
        role=role,
        networks=tuple(
            weights.instantiate(m, splits.class_names, image_size=size) for m in members
        ),
        headers=tuple(weights.complete(m, splits.class_names, image_size=size) for m in members),
        weights_sha256="+".join(digests),
        run=run,
        run_sha256=run_sha256,
        licence=licence,
        data_kind=data_kind,
        unlabelled=unlabelled,
        initial=initial,
    )
