"""Model files for what has none yet: untrained candidates, and a teacher given as weights.

Latency and size do not depend on the weights, so a student can be chosen before it is trained.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from compress.config import recipes
from compress.config.bench import BenchConfig
from compress.config.specs import WEIGHT_FILES, ModelSpec, Reference, StudentSpec
from compress.data import registry as data_registry
from compress.errors import CompressError, ConfigError
from compress.measure import artifact
from compress.models import registry
from compress.progress import Progress
from compress.records.model_card import ModelCard, Precision
from compress.stages import bench_images

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

IMAGE_SIZE, CLASSES = 32, 10
"""What candidates are made for when nobody says otherwise: CIFAR-10's."""

KNOWN_DATA = {"digits": (8, 10), "cifar10": (32, 10), "cifar100": (32, 100)}
"""Image size and classes of data by name, so that candidates need no images. A recipe of that name
may say another size."""

CALIBRATION_IMAGES = 8


@dataclass(frozen=True)
class Exported:
    """Model files that last as long as the bench.

    Attributes:
        candidates: One artifact folder per candidate.
        teacher: What `--teacher` names, as a file; None without it.
        untrained: The folders of models whose answers mean nothing.
        notes: What is worth saying.
    """

    candidates: tuple[Reference, ...] = ()
    teacher: Reference | None = None
    untrained: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def exported(config: BenchConfig, progress: Progress) -> Iterator[Exported]:
    """Write what a bench needs and is no model file yet, and remove it afterwards.

    Raises:
        ConfigError: A candidate's model or option is unknown, two have one name, or the data is
            unknown or its pictures differ in size and a model does not say which it takes.
        InputError: A target, the data or the teacher's weights are missing or damaged.
        MachineError: The packages for it are not installed (as ModuleNotFoundError).
    """
    teacher = config.teacher
    made = teacher is not None and is_made(teacher)
    if not config.student and not made:
        yield Exported(teacher=teacher)
        return
    with tempfile.TemporaryDirectory(prefix="compress-") as name:
        folder = Path(name)
        notes: list[str] = []
        untrained: list[Path] = []
        shape = _Shape(config)
        labels = _labels(config.student)
        shapes = [_own_shape(spec.model, shape) for spec in config.student]
        if made and teacher is not None:
            place = folder / "teacher"
            if not _write_teacher(teacher, place, config, shape):
                untrained.append(place)
                notes.append(f"teacher {teacher} is untrained: latency and size only")
            teacher = Reference(target=str(place))
        candidates = []
        if labels:
            progress.start("untrained candidates", total=len(labels), unit="model")
        for label, (model, size, classes) in zip(labels, shapes, strict=True):
            place = folder / "candidates" / label
            _write_untrained(place, label, model, size, classes, int8=True)
            candidates.append(Reference(target=str(place)))
            untrained.append(place)
            progress.advance()
        if labels:
            progress.finish(f"{len(labels)} untrained candidates, fp32 and INT8")
            notes.append("untrained candidates: latency and size only")
        yield Exported(tuple(candidates), teacher, tuple(untrained), tuple(notes))


def is_made(reference: Reference) -> bool:
    """Whether a model file has to be made for it: weights, or the name of a model."""
    target = reference.target
    return _is_weights(reference) or (target in registry.names() and not Path(target).exists())


def _is_weights(reference: Reference) -> bool:
    """Whether it is a weights file: by its ending, or a file of any other that is described so."""
    target, path = reference.target, Path(reference.target)
    if target.endswith(WEIGHT_FILES):
        return not path.is_dir()
    return "model" in reference.options and path.is_file() and path.suffix not in artifact.SUFFIXES


class _Shape:
    """Image size and classes of models that do not say theirs.

    Those of the first target, of the data, or CIFAR-10's. They are looked up when they are asked
    for, so that no picture is opened where every model says its size.

    Raises:
        ConfigError: The data a user named is unknown.
        InputError: The first target or the folder of the data is missing or damaged.
    """

    def __init__(self, config: BenchConfig) -> None:
        first = next(iter(config.targets), None)
        self._data = config.data
        self._card = None
        if first is not None:
            self._card = artifact.find_artifacts(artifact.resolve(first.target))[0].card
        bench_images.check_named(config)

    @cached_property
    def image_size(self) -> int:
        """Height and width, in pixels.

        Raises:
            ConfigError: The pictures of the data differ in size.
            InputError: One of them cannot be read.
        """
        if self._card is not None:
            return self._card.image_size
        if self._data is None:
            return IMAGE_SIZE
        if not data_registry.is_named(self._data):
            return data_registry.load_size(self._data)
        own, _ = KNOWN_DATA.get(self._data, (IMAGE_SIZE, CLASSES))
        table = recipes.load(self._data)["data"] if self._data in recipes.names() else {}
        return int(table.get("image_size", own))

    @cached_property
    def classes(self) -> int:
        """How many there are; as many as CIFAR-10's where nothing tells.

        Raises:
            InputError: The data holds no pictures, or its test classes are not those of `train`.
        """
        if self._card is not None:
            return self._card.classes or CLASSES
        if self._data is None:
            return CLASSES
        if not data_registry.is_named(self._data):
            return len(data_registry.load_classes(self._data)) or CLASSES
        _, classes = KNOWN_DATA.get(self._data, (IMAGE_SIZE, CLASSES))
        return classes


def _own_shape(model: ModelSpec, shape: _Shape) -> tuple[ModelSpec, int, int]:
    """A model with its own options alone, its image size and its classes, which it may say."""
    options = dict(model.options)
    said: dict[str, int] = {}
    for key in ("image_size", "classes"):
        if key not in options:
            continue
        value = options.pop(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{key}={value} of {model} is not a whole number above 0")
        said[key] = value
    return (
        ModelSpec(name=model.name, options=options),
        said.get("image_size") or shape.image_size,
        said.get("classes") or shape.classes,
    )


def _labels(students: Sequence[StudentSpec]) -> list[str]:
    """Names of candidates: the label given, the model, or the model with its options.

    Raises:
        ConfigError: Two have one name.
    """
    models = [spec.model.name for spec in students]
    labels = []
    for spec in students:
        options = "".join(f"-{key}{value}" for key, value in sorted(spec.model.options.items()))
        short = spec.model.name + (options if models.count(spec.model.name) > 1 else "")
        labels.append(spec.label or "".join(c if c.isalnum() or c in "-_." else "-" for c in short))
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(
                f"two candidates are called {label!r}", hint="name one: --student NAME=MODEL"
            )
    return labels


def _write_untrained(
    place: Path, label: str, model: ModelSpec, image_size: int, classes: int, *, int8: bool
) -> None:
    """Write a model with fresh weights; this part needs a workstation."""
    import torch

    options = registry.resolve_options(model.name, image_size=image_size, options=model.options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = registry.build(
            model.name, classes=classes, image_size=image_size, options=options
        )
    card = ModelCard(
        name=label,
        architecture=model.name,
        options=options,
        class_names=tuple(str(number) for number in range(classes)),
        image_size=image_size,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    _write(place, network, card, int8=int8)


def _write_teacher(reference: Reference, place: Path, config: BenchConfig, shape: _Shape) -> bool:
    """Write a teacher given as weights, or as a model's name (False: it is untrained).

    This part needs a workstation.
    """
    target = reference.target
    if not _is_weights(reference):
        named = ModelSpec(name=target, options=reference.options)
        model, size, classes = _own_shape(named, shape)
        _write_untrained(place, target, model, size, classes, int8=False)
        return False
    from compress.models import weights

    found = weights.load(Path(target), reference.options)
    names = found.header.class_names or _class_names(config)
    numbered = names or tuple(str(number) for number in range(found.classes or shape.classes))
    side = found.header.image_size or shape.image_size
    header = weights.complete(found, numbered, image_size=side)
    network = weights.instantiate(found, numbered, image_size=side)
    card = ModelCard(
        name=Path(target).stem,
        role="teacher",
        architecture=header.model,
        options=header.options,
        class_names=names,
        image_size=side,
        mean=header.mean,
        std=header.std,
        weights_sha256=found.sha256,
    )
    _write(place, network, card, int8=False)
    return True


def _class_names(config: BenchConfig) -> tuple[str, ...]:
    """Names for the classes of foreign weights: those of the data a user names; else none.

    A data set with a name may lie elsewhere, as a bench of candidates asks about no images.

    Raises:
        InputError: The folder a user named holds no pictures, or its splits differ in classes.
    """
    if config.data is None:
        return ()
    try:
        return data_registry.load_classes(config.data, data_dir=config.data_dir)
    except CompressError:
        if data_registry.is_named(config.data):
            return ()
        raise


def _write(place: Path, network: "nn.Module", card: ModelCard, *, int8: bool) -> None:
    """Write a network as fp32 and, if asked, INT8; this part needs a workstation."""
    import numpy as np

    from compress.graph.quantize import calibrate, quantize
    from compress.graph.write import bytes_moved, seal, write_graph
    from compress.models.cost import macs, parameters
    from compress.models.normalized import Normalized

    if card.mean is None or card.std is None:
        raise ValueError(f"{card.name} has no normalisation")
    network.eval()
    size = card.image_size
    graph = write_graph(
        Normalized(network, mean=card.mean, std=card.std), layout=card.input_layout, image_size=size
    )
    costs = {"parameters": parameters(network), "macs": macs(network, size)}
    forms: dict[Precision, ModelProto] = {"fp32": graph}
    if int8:
        generator = np.random.Generator(np.random.Philox(0))
        pixels = generator.integers(
            0, 256, size=(CALIBRATION_IMAGES, size, size, 3), dtype=np.uint8
        )
        forms["int8"] = quantize(calibrate(graph, pixels), target="portable")
    place.mkdir(parents=True, exist_ok=True)
    for precision, form in forms.items():
        weight_bytes, activation_bytes = bytes_moved(graph, precision)
        own = card.model_copy(
            update={
                **costs,
                "precision": precision,
                "target": "portable" if precision == "int8" else None,
                "weight_bytes": weight_bytes,
                "activation_bytes": activation_bytes,
            }
        )
        (place / artifact.MODEL_FILES[precision]).write_bytes(seal(form, own))
