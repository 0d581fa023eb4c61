"""The one way to open an ONNX Runtime session, and to ask it about images."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from compress.environment import read_environment
from compress.errors import InputError, MachineError
from compress.records.model_card import Layout, ModelCard, Target

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CPU = "CPUExecutionProvider"
NVIDIA = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
FAILURES = (
    native.EPFail,
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NoModel,
    native.NoSuchFile,
    native.NotImplemented,
    native.RuntimeException,
    # of the Python part, as long as nothing falls back
    RuntimeError,
    ValueError,
)
BATCH = 32
ORT = ".ort"
"""Suffix of ONNX Runtime's own format."""
NO_NCHWC = ["NchwcTransformer"]
JUST_BELOW = np.float32(1 - 1e-6)
PROBABILITY_ERROR = 2e-3
"""How far from 0 the logarithm of the sum of an image's probabilities may be, in float16 graphs."""


def open_session(
    model: Path | bytes,
    *,
    threads: int = 1,
    provider: str = CPU,
    unsaturated: bool = False,
    optimized_path: Path | None = None,
    spinning: bool = True,
) -> "InferenceSession":
    """Open a model for inference.

    Args:
        model: A file, or its content.
        threads: Threads inside one operator.
        provider: Execution provider; every node runs on it or opening fails, nothing falls back.
        unsaturated: On x86 CPUs without VNNI, compute int8 products without 16-bit saturation
            (slower); elsewhere it changes nothing.
        optimized_path: Where to save the optimized graph: `.onnx`, or `.ort` for ORT's own format.
            It is kept free of layouts that only this CPU has.
        spinning: Whether idle threads wait busily; off where cores are shared.

    Raises:
        InputError: Missing, corrupt, or with an operator ONNX Runtime does not know.
        MachineError: The provider is not here, or cannot run the whole model.
    """
    source = str(model) if isinstance(model, Path) else "the model"
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise MachineError(
            f"provider {provider!r} is not in this onnxruntime {onnxruntime.__version__}",
            hint=f"available: {', '.join(available)}",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if unsaturated:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if not spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider != CPU:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if optimized_path is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimized_path)
        if optimized_path.suffix == ORT:
            options.add_session_config_entry("session.save_model_format", "ORT")
    disabled = NO_NCHWC if optimized_path is not None else None
    try:
        session = onnxruntime.InferenceSession(
            str(model) if isinstance(model, Path) else model,
            options,
            providers=[provider],
            disabled_optimizers=disabled,
            enable_fallback=0,
        )
    except native.NoSuchFile as error:
        raise InputError(f"{source} does not exist") from error
    except FAILURES as error:
        if provider != CPU:
            raise MachineError(
                f"{provider} cannot run the whole of {source}: {_reason(error)}",
                hint=f"use {CPU}, or export for this provider",
            ) from error
        raise InputError(
            f"ONNX Runtime {onnxruntime.__version__} cannot open {source}: {_reason(error)}",
            hint="export or copy it again",
        ) from error
    if session.get_providers()[0] != provider:
        raise MachineError(f"{provider} did not take {source}; got {session.get_providers()[0]}")
    return session


def _reason(error: Exception) -> str:
    """ONNX Runtime's message on one line, without its own prefix."""
    text = " ".join(str(error).split())
    return text.rpartition("[ONNXRuntimeError] : ")[2][:300]


def saturates() -> bool:
    """Whether int8 products of full-range weights overflow on this CPU: x86 without VNNI."""
    environment = read_environment()
    x86 = environment.system.endswith(("x86_64", "AMD64", "i686"))
    return x86 and not {"avx512_vnni", "avx_vnni"} & set(environment.instruction_sets)


def lacks_arithmetic(target: Target | None) -> bool:
    """Whether a graph quantized for this target must run unsaturated here, at another speed."""
    return target in ("vnni", "arm64") and saturates()


def stays_saturated(path: Path, target: Target | None) -> bool:
    """Whether a file lacks its arithmetic here, and no session option can make up for it.

    A file in ONNX Runtime's own format is optimized already: the option comes too late for it.
    """
    return path.suffix == ORT and lacks_arithmetic(target)


def read_card(session: "InferenceSession", *, name: str = "model", source: str = "") -> ModelCard:
    """The card of an open model; for a foreign file, what its input shows.

    Args:
        session: An open session.
        name: Label for a file that has no card.
        source: The file, for messages; empty takes the name.

    Raises:
        InputError: The metadata is damaged, or the input is no image.
    """
    metadata = session.get_modelmeta().custom_metadata_map
    source = source or name
    card = ModelCard.from_metadata(metadata, source=source)
    return card or _foreign_card(session, name, source)


def _foreign_card(session: "InferenceSession", name: str, source: str) -> ModelCard:
    """A card from the shape and type of the only input of a file without metadata."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = f" ({', '.join(each.name for each in inputs)})" if inputs else ""
        raise InputError(
            f"{source} takes {len(inputs)} inputs{names}, not one image",
            hint="export it from its framework with the image as its only input",
        )
    shape = list(inputs[0].shape)
    kinds: dict[str, Layout] = {"tensor(uint8)": "uint8-nhwc", "tensor(float)": "float-nchw"}
    layout = kinds.get(inputs[0].type)
    if layout is None or len(shape) != 4:
        raise InputError(
            f"{source} takes {inputs[0].type}{shape}, not one uint8 NHWC or float NCHW image",
            hint="export it with `compress export`",
        )
    height, width, channels = shape[1:] if layout == "uint8-nhwc" else (*shape[2:], shape[1])
    if not all(isinstance(side, int) for side in (height, width, channels)) or height != width:
        raise InputError(
            f"{source} takes images of shape {shape}: the size must be square and fixed"
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise InputError(
            f"{source} takes exactly {shape[0]} images a call",
            hint="export it from its framework with batch 1, or with a dynamic batch",
        )
    batch = "1" if shape[0] == 1 else "dynamic"
    return ModelCard.model_validate(
        {"name": name, "image_size": height, "channels": channels}
        | {"input_layout": layout, "batch": batch}
    )


def prepare(images: NDArray[np.uint8], card: ModelCard) -> NDArray[Any]:
    """Images as a model's input takes them.

    Args:
        images: uint8 (batch, size, size, channels), RGB.
        card: Of the model.

    Returns:
        The images themselves for uint8-nhwc; float32 (batch, channels, size, size), normalised,
        for float-nchw.

    Raises:
        InputError: The shape is another, or the model does not tell its normalisation.
    """
    expected = (card.image_size, card.image_size, card.channels)
    if images.shape[1:] != expected:
        raise InputError(
            f"{card.name} takes images of {card.image_size}x{card.image_size}x{card.channels}, "
            f"got {'x'.join(str(side) for side in images.shape[1:])}"
        )
    if card.input_layout == "uint8-nhwc":
        return np.ascontiguousarray(images)
    if card.mean is None or card.std is None:
        raise InputError(
            f"{card.name} takes normalised floats and does not tell its mean and std",
            hint="export it with `compress export FILE:model=NAME,normalization=… --data …`",
        )
    scale, shift = normalisation(card.mean, card.std)
    planes = images.transpose(0, 3, 1, 2).astype(np.float32)
    normalised: NDArray[np.float32] = planes * scale + shift
    return np.ascontiguousarray(normalised)


def normalisation(
    mean: Iterable[float], std: Iterable[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factor and offset that turn pixels of 0 to 255 into normalised values.

    Returns:
        Two float32 arrays of shape (1, channels, 1, 1): pixels * factor + offset.
    """
    centre = np.asarray(list(mean), dtype=np.float64)
    spread = np.asarray(list(std), dtype=np.float64)
    factor, offset = 1 / (255 * spread), -centre / spread
    shape = (1, -1, 1, 1)
    return factor.reshape(shape).astype(np.float32), offset.reshape(shape).astype(np.float32)


def raw_answers(session: "InferenceSession", inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What a model answers for inputs that `prepare` made, by the outputs' names.

    Args:
        session: An open session.
        inputs: (images, …); a model that takes one image a call is called once for each.

    Returns:
        Arrays of (images, …), the first output's first; others that are none, as one number for
        all images, are left out.

    Raises:
        InputError: The model fails while running.
        NoClassesError: Its first output has no answer for each image.
    """
    names = [output.name for output in session.get_outputs()]
    parts = [_call(session, part) for part in _calls(session, inputs)]
    found: dict[str, NDArray[Any]] = {}
    for k, name in enumerate(names):
        each = [part[k] for part in parts]
        if all(isinstance(one, np.ndarray) and one.ndim for one in each) and _alike(each):
            answers = np.concatenate(each)
            if len(answers) == len(inputs):
                found[name] = answers
                continue
        if k == 0:
            raise NoClassesError(
                f"output {name!r} has no answer for each image",
                hint="only a classifier's answers can be judged",
            )
    return found


def _alike(parts: Sequence[NDArray[Any]]) -> bool:
    """Whether answers differ in the number of images alone."""
    return len({part.shape[1:] for part in parts}) == 1


def _calls(session: "InferenceSession", inputs: NDArray[Any]) -> Iterator[NDArray[Any]]:
    size = 1 if session.get_inputs()[0].shape[0] == 1 else BATCH
    for start in range(0, len(inputs), size):
        yield inputs[start : start + size]


def _call(session: "InferenceSession", inputs: NDArray[Any]) -> list[NDArray[Any]]:
    try:
        outputs: list[NDArray[Any]] = session.run(None, {session.get_inputs()[0].name: inputs})
    except FAILURES as error:
        raise InputError(f"the model fails on an image: {_reason(error)}") from error
    return outputs


def logits(
    session: "InferenceSession", card: ModelCard, images: NDArray[np.uint8], *, workers: int = 1
) -> NDArray[np.float32]:
    """A model's logits for images, whatever its input layout and output are.

    Args:
        session: An open session; it may be used by several threads at once.
        card: Of the same model.
        images: uint8 (images, size, size, channels), RGB.
        workers: Calls at the same time; the result does not depend on it.

    Returns:
        float32 (images, classes). Graphs that answer probabilities give their logarithm; classes
        that a top-k graph leaves out share what is left of 1. What a file from elsewhere answers
        is for `settled` to tell.

    Raises:
        InputError: The images do not fit, or the model fails.
        NoClassesError: Its answer is no number for each class.
    """
    starts = range(0, len(images), BATCH)

    def part(start: int) -> NDArray[np.float32]:
        answers = raw_answers(session, prepare(images[start : start + BATCH], card))
        return _as_logits(answers, card)

    if workers == 1:
        parts = [part(start) for start in starts]
    else:
        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(part, starts))
    return np.concatenate(parts) if parts else np.empty((0, card.classes), dtype=np.float32)


class NoClassesError(InputError):
    """A model from elsewhere answers with something else than a number for each class."""


def _as_logits(answers: dict[str, NDArray[Any]], card: ModelCard) -> NDArray[np.float32]:
    outputs = list(answers.values())
    values = _by_class(outputs[0], card).astype(np.float32)
    if card.output == "logits":
        return values
    if card.output == "softmax":
        return _logarithm(values)
    classes = outputs[1].astype(np.int64)
    missing = card.classes - classes.shape[1]
    rest = (1 - values.sum(axis=1, keepdims=True)) / max(missing, 1)
    # never above what was answered, so that the best class stays the best
    rest = np.minimum(rest, values.min(axis=1, keepdims=True) * JUST_BELOW)
    full = np.repeat(rest, card.classes, axis=1).astype(np.float32)
    np.put_along_axis(full, classes, values, axis=1)
    return _logarithm(full)


def _logarithm(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of probabilities; finite also where one is 0, or was rounded below."""
    found: NDArray[np.float32] = np.log(np.maximum(shares, np.finfo(np.float32).tiny))
    return found


def _by_class(values: NDArray[Any], card: ModelCard) -> NDArray[Any]:
    """The first output as (images, classes), without the sides of 1 that pooling leaves.

    Raises:
        NoClassesError: It is something else.
    """
    shape = values.shape
    if np.issubdtype(values.dtype, np.floating) and len(shape) >= 2 and set(shape[2:]) <= {1}:
        return values.reshape(shape[:2])
    raise NoClassesError(
        f"{card.name} answers {values.dtype} of shape {shape[1:]} for an image, not one number "
        "for each class",
        hint="only a classifier's answers can be judged",
    )


def settled(answers: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    """Answers as logits, also of a file from elsewhere, which does not say what it answers.

    Args:
        answers: As `logits` gives them, of all images: float32 (images, classes).
        card: Of the same model.

    Returns:
        The answers; their logarithm where the file is from elsewhere and those of every image are
        probabilities, of at most 1 and 1 together.
    """
    if card.foreign and ((answers >= 0) & (answers <= 1)).all():
        logarithms = _logarithm(answers)
        if are_log_probabilities(logarithms):
            return logarithms
    return answers


def are_log_probabilities(logits: NDArray[np.float32]) -> bool:
    """Whether logits are those of a graph that ends in a softmax, or in its logarithm.

    Args:
        logits: float32 (images, classes).

    Returns:
        True where the exponentials of every image are 1 together.
    """
    return bool((np.abs(np.logaddexp.reduce(logits, axis=1)) < PROBABILITY_ERROR).all())
