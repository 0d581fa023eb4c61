"""Model files for what has none yet: untrained candidates, and a teacher given as weights.

Latency and size do not depend on the weights, so a student can be chosen before it is trained.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.config import recipes
from compress.config.bench import BenchConfig
from compress.config.specs import ModelSpec, Reference, Scalar, StudentSpec
from compress.data import registry as data_registry
from compress.errors import CompressError, ConfigError
from compress.measure import artifact
from compress.models import registry
from compress.progress import Progress
from compress.records.model_card import ModelCard, Precision

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

IMAGE_SIZE, CLASSES = 32, 10
"""What candidates are made for when nobody says otherwise: CIFAR-10's."""

KNOWN_DATA = {"digits": (8, 10), "cifar10": (32, 10), "cifar100": (32, 100)}
"""Image size and classes of data by name, so that candidates need no images. A recipe of that name
may say another size."""

CALIBRATION_IMAGES = 8
WEIGHTS = (".safetensors", ".pt", ".pth")


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
        ConfigError: A candidate's model or option is unknown, or two have one name.
        InputError: The teacher's weights are missing or damaged.
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
        size, classes = _shape(config)
        if made and teacher is not None:
            place = folder / "teacher"
            if not _write_teacher(teacher, place, config, size, classes):
                untrained.append(place)
                notes.append(f"teacher {teacher} is untrained: latency and size only")
            teacher = Reference(target=str(place))
        candidates = []
        labels = _labels(config.student)
        if labels:
            progress.start("untrained candidates", total=len(labels), unit="model")
        for label, spec in zip(labels, config.student, strict=True):
            own_size, own_classes, options = _own_shape(spec.model, size, classes)
            model = ModelSpec(name=spec.model.name, options=options)
            place = folder / "candidates" / label
            _write_untrained(place, label, model, own_size, own_classes, int8=True)
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
    if target.endswith(WEIGHTS):
        return True
    return target in registry.names() and not Path(target).exists()


def _shape(config: BenchConfig) -> tuple[int, int]:
    """Image size and classes for candidates: of the targets, of the data's name, or CIFAR-10's."""
    for target in config.targets:
        card = artifact.find_artifacts(artifact.resolve(target.target))[0].card
        return card.image_size, card.classes or CLASSES
    if config.data in data_registry.names():
        own, classes = KNOWN_DATA.get(str(config.data), (IMAGE_SIZE, CLASSES))
        table = recipes.load(str(config.data))["data"] if config.data in recipes.names() else {}
        return table.get("image_size", own), classes
    if config.data is not None:
        images = data_registry.load_test(config.data, data_dir=config.data_dir)
        return images.image_size, images.classes or CLASSES
    return IMAGE_SIZE, CLASSES


def _own_shape(model: ModelSpec, size: int, classes: int) -> tuple[int, int, dict[str, Scalar]]:
    """A candidate's image size and classes, which it may say itself, and the model's options."""
    options = dict(model.options)
    numbers = {"image_size": size, "classes": classes}
    for key in numbers:
        value = options.pop(key, numbers[key])
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{key}={value} of {model} is not a whole number above 0")
        numbers[key] = value
    return numbers["image_size"], numbers["classes"], options


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


def _write_teacher(
    reference: Reference, place: Path, config: BenchConfig, size: int, classes: int
) -> bool:
    """Write a teacher given as weights, or as a model's name (False: it is untrained).

    This part needs a workstation.
    """
    target = reference.target
    if not target.endswith(WEIGHTS):
        named = ModelSpec(name=target, options=reference.options)
        size, classes, options = _own_shape(named, size, classes)
        _write_untrained(
            place, target, ModelSpec(name=target, options=options), size, classes, int8=False
        )
        return False
    from compress.models import weights

    found = weights.load(Path(target), reference.options)
    names = found.header.class_names or _class_names(config)
    numbered = names or tuple(str(number) for number in range(found.classes or classes))
    side = found.header.image_size or size
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
    """Names for the classes of foreign weights: those of the data a user names; else none."""
    if config.data is None:
        return ()
    try:
        return data_registry.load_test(config.data, data_dir=config.data_dir).class_names
    except CompressError:
        return ()


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
