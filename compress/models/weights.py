"""Weight files: tensors with a header that says which model they belong to, and foreign ones.

Our files are safetensors with one metadata entry. They say nothing of the run that made them (time,
place, company), so that equal weights are equal files.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from compress.config.specs import Frozen, Scalar
from compress.errors import ConfigError, InputError
from compress.files import sha256_file, write_bytes
from compress.models import registry
from compress.models.foreign import State, read_safetensors, read_state
from compress.models.normalization import Channels, read_normalization

METADATA_KEY = "compress"
FOREIGN_KEYS = ("model", "normalization", "mean", "std", "image_size", "classes", "entry")


class WeightsHeader(Frozen):
    """What is needed to use weights: the network they fill and the images it expects.

    Attributes:
        format: Version of this header.
        model: Name in the registry of models.
        options: The model's options, all of them in our own files.
        class_names: What the logits stand for; None in a foreign file, which does not say.
        image_size: Side of the input in pixels; None in a foreign file that does not say.
        mean: Subtracted per channel from images with values 0-1.
        std: What the difference is divided by.
    """

    format: Literal[1] = 1
    model: str
    options: dict[str, Scalar]
    class_names: tuple[str, ...] | None
    image_size: int | None
    mean: Channels
    std: Channels


@dataclass(frozen=True)
class Weights:
    """The content of a weight file.

    Attributes:
        state: Parameter and buffer names to CPU tensors.
        header: What they belong to.
        sha256: Of the whole file, in hex.
        path: Where it was read, for messages.
        classes: What the description of a foreign file says; None where it does not.
    """

    state: State
    header: WeightsHeader
    sha256: str
    path: Path
    classes: int | None = None


def save(path: Path, state: Mapping[str, Tensor], header: WeightsHeader) -> None:
    """Write weights whole or not at all; equal weights and headers make equal bytes.

    Args:
        path: Where to; an existing file is replaced.
        state: A model's `state_dict()`, on any device.
        header: With class names and image size. `weights=imagenet` is left out of it: the file
            itself holds the weights.

    Raises:
        InputError: The file cannot be written.
        ValueError: The header lacks class names or image size.
    """
    if header.class_names is None or header.image_size is None:
        raise ValueError(f"the header of {path} lacks class names or image size: {header}")
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    options = {key: value for key, value in header.options.items() if key != "weights"}
    described = header.model_copy(update={"options": dict(sorted(options.items()))})
    content = {"header": described.model_dump(mode="json"), "tensors_sha256": _digest(tensors)}
    text = json.dumps(content, sort_keys=True)
    # not save_file: one that is killed leaves a temporary file of its own behind
    write_bytes(path, safetensors.torch.save(tensors, metadata={METADATA_KEY: text}))


def load(path: Path, options: Mapping[str, Scalar]) -> Weights:
    """Read weights, ours or foreign, without running anything that is in the file.

    Args:
        path: A `.safetensors` file, or a `.pt`/`.pth` file of `torch.save`.
        options: For a foreign file what it cannot say: `model`, `normalization` (or `mean` and
            `std`), and where needed `image_size`, `classes`, `entry` (the key of the weights in a
            checkpoint) and the options of the model. For one of ours, nothing.

    Raises:
        InputError: The file is missing, truncated, altered, or holds no weights.
        ConfigError: The description is missing, unknown or not needed.
    """
    if not path.exists():
        raise InputError(f"no weights in {path}: there is no such file")
    if path.suffix == ".safetensors":
        state, metadata = read_safetensors(path)
        if METADATA_KEY in metadata:
            if options:
                raise ConfigError(
                    f"{path} says itself what it is; leave out {', '.join(sorted(options))}"
                )
            header = _read_header(path, metadata[METADATA_KEY], state)
            return Weights(state, header, sha256_file(path), path)
    header = _describe(path, options)
    state = read_state(path, entry=options.get("entry"))
    return Weights(state, header, sha256_file(path), path, _number(options, "classes"))


def complete(
    weights: Weights, class_names: tuple[str, ...], *, image_size: int | None = None
) -> WeightsHeader:
    """The header with nothing left open, checked against the data it is to be used with.

    Args:
        weights: What `load` returned.
        class_names: The classes of the data, in order.
        image_size: Side of the data's images in pixels; None takes the file's word for it.

    Raises:
        InputError: The weights are for other classes or another image size.
        ConfigError: Nobody says the image size, or the model's options are wrong.
    """
    header, path = weights.header, weights.path
    if header.class_names is not None and header.class_names != class_names:
        raise InputError(
            f"{path} knows {_classes(header.class_names)}, the data has {_classes(class_names)}",
            hint="use weights that were trained on these classes",
        )
    if weights.classes not in (None, len(class_names)):
        raise _other_classes(path, weights.classes, class_names)
    size = header.image_size if image_size is None else image_size
    if size is None:
        raise ConfigError(f"{path} does not say its image size", hint="add image_size=PIXELS")
    if header.image_size not in (None, size):
        raise InputError(
            f"{path} takes images of {header.image_size} pixels, the data has {size}",
            hint=f"resize the data with --image-size {header.image_size}",
        )
    options = {key: value for key, value in header.options.items() if key != "weights"}
    resolved = registry.resolve_options(header.model, image_size=size, options=options)
    return header.model_copy(
        update={"options": resolved, "class_names": class_names, "image_size": size}
    )


def instantiate(
    weights: Weights, class_names: tuple[str, ...], *, image_size: int | None = None
) -> nn.Module:
    """Build the network and fill it with the weights.

    Args:
        weights: What `load` returned.
        class_names: The classes of the data, in order.
        image_size: Side of the data's images in pixels; None takes the file's word for it.

    Returns:
        The model on the CPU, in evaluation mode, in float32.

    Raises:
        InputError: The weights are for other classes, another image size or another network.
        ConfigError: Nobody says the image size, or the model's options are wrong.
    """
    header = complete(weights, class_names, image_size=image_size)
    if header.image_size is None:
        raise ValueError("a complete header has an image size")
    # The values drawn here are overwritten; the caller's generator must not notice.
    with torch.random.fork_rng(devices=[]):
        model = registry.build(
            header.model,
            classes=len(class_names),
            image_size=header.image_size,
            options=header.options,
        )
    _check_fit(weights, model, header)
    model.load_state_dict(weights.state)
    return model.eval()


def _read_header(path: Path, text: str, state: State) -> WeightsHeader:
    try:
        content: dict[str, Any] = json.loads(text)
        header = WeightsHeader.model_validate(content["header"])
        recorded = content["tensors_sha256"]
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputError(
            f"{path} has a header that this version cannot read",
            hint="it was altered, or a newer version wrote it",
        ) from error
    found = _digest(state)
    if found != recorded:
        raise InputError(
            f"{path} was altered: its tensors have sha256 {found[:8]}…, not {recorded[:8]}…",
            hint="copy it again, or train again",
        )
    return header


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """The sha256 of names, types, shapes and values of tensors."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].contiguous()
        digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _describe(path: Path, options: Mapping[str, Scalar]) -> WeightsHeader:
    """The header of a foreign file, from the options after its name."""
    name = options.get("model")
    if not isinstance(name, str):
        raise ConfigError(
            f"{path} does not say which model it is",
            hint=f"write {path.name}:model=NAME,normalization=NAME,…",
        )
    own = {key: value for key, value in options.items() if key not in FOREIGN_KEYS}
    image_size = _number(options, "image_size")
    registry.resolve_options(name, image_size=image_size or 32, options=own)
    normalization = read_normalization(options)
    return WeightsHeader(
        model=name,
        options=own,
        class_names=None,
        image_size=image_size,
        mean=normalization.mean,
        std=normalization.std,
    )


def _number(options: Mapping[str, Scalar], key: str) -> int | None:
    value = options.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(f"{key}={value} is not a whole number above 0")
    return value


def _other_classes(path: Path, classes: int | None, class_names: tuple[str, ...]) -> InputError:
    return InputError(
        f"{path} is for {classes} classes, the data has {_classes(class_names)}",
        hint="use weights that were trained on these classes",
    )


def _check_fit(weights: Weights, model: nn.Module, header: WeightsHeader) -> None:
    """Refuse weights with other names or shapes than the model's, in one line.

    BatchNorm's `num_batches_tracked` may be missing, as in files from before torch 0.4.1.
    """
    own = model.state_dict()
    state, path = weights.state, weights.path
    named = f"{header.model}:{_options_text(header)}" if header.options else header.model
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    if missing or unexpected:
        raise InputError(
            f"{path} does not fit {named}: {len(missing)} names missing{_example(missing)}, "
            f"{len(unexpected)} unknown{_example(unexpected)}",
            hint="another model=NAME, or weights that were saved with these names",
        )
    wrong = [key for key, value in state.items() if value.shape != own[key].shape]
    if not wrong:
        return
    class_names = header.class_names or ()
    theirs, ours = state[wrong[-1]].shape, own[wrong[-1]].shape
    if len(wrong) <= 2 and ours[:1] == (len(class_names),) and ours[1:] == theirs[1:]:
        raise _other_classes(path, theirs[0], class_names)
    raise InputError(
        f"{path} does not fit {named} with {len(class_names)} classes: {wrong[-1]} is "
        f"{list(theirs)} in the file, {list(ours)} in the model",
        hint="check the classes of the data, image_size and the model's options (stem, width, …)",
    )


def _options_text(header: WeightsHeader) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(header.options.items()))


def _example(names: list[str]) -> str:
    return f" ({names[0]}, …)" if names else ""


def _classes(names: tuple[str, ...]) -> str:
    return f"{len(names)} classes ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
