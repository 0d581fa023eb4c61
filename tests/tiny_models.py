"""Tiny ONNX classifiers with known answers, and images to ask them about."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from compress import runtime
from compress.data.images import ImageSet
from compress.records.model_card import ModelCard

COLOURS = ("red", "green", "blue")
SIZE = 8


def write_classifier(
    path: Path,
    *,
    name: str = "tiny",
    answers: Sequence[int] = (0, 1, 2),
    class_names: tuple[str, ...] = COLOURS,
    layout: str = "uint8-nhwc",
    size: int = SIZE,
    gain: float = 0.05,
    work: int = 0,
    nan: bool = False,
    quantized: bool = False,
    softmax: bool = False,
    card: bool = True,
    **fields: Any,
) -> Path:
    """Write a model whose largest logit is the image's strongest colour channel.

    Args:
        path: Where to.
        name: Its label.
        answers: Which class channel k speaks for; (1, 0, 2) confuses red and green.
        class_names: One per output, at least three.
        layout: `uint8-nhwc`, or `float-nchw` without normalisation.
        size: Side of the images in pixels.
        gain: Of the channel means on a scale of 0 to 255.
        work: Matrix products of 128x128 done in vain, to make it slower.
        nan: Answer NaN for images without blue.
        quantized: Round the logits to eighths through uint8.
        softmax: End in probabilities.
        card: Whether the metadata describe it.
        fields: Further fields of the card.
    """
    pixels = layout == "uint8-nhwc"
    shape = [1, size, size, 3] if pixels else [1, 3, size, size]
    weight = np.zeros((3, len(class_names)), dtype=np.float32)
    for channel, answer in enumerate(answers):
        weight[channel, answer] = gain * (1 if pixels else 255)
    nodes = [
        helper.make_node("Cast", ["input"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weight"], ["scores"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2] if pixels else [2, 3]),
        helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.reshape(-1)),
    ]
    last = "scores"
    if nan:
        nodes += [
            helper.make_node("Slice", ["means", "two", "three", "one"], ["blue"]),
            helper.make_node("Div", ["blue", "blue"], ["one_or_nan"]),
            helper.make_node("Mul", [last, "one_or_nan"], ["spoilt"]),
        ]
        constants += [
            helper.make_tensor(text, TensorProto.INT64, [1], [number])
            for text, number in (("one", 1), ("two", 2), ("three", 3))
        ]
        last = "spoilt"
    if work:
        matrix = np.full(128 * 128, 1 / 128, dtype=np.float32)
        constants += [
            helper.make_tensor("matrix", TensorProto.FLOAT, [128, 128], matrix),
            helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]),
        ]
        nodes.append(helper.make_node("MatMul", ["column", "scores"], ["wide"]))
        column = np.full(128, 1.0, dtype=np.float32)
        spread = np.full((len(class_names), 128), 1 / 128, dtype=np.float32)
        constants += [
            helper.make_tensor("column", TensorProto.FLOAT, [128, 1], column),
            helper.make_tensor("spread", TensorProto.FLOAT, spread.shape, spread.reshape(-1)),
        ]
        nodes.append(helper.make_node("MatMul", ["wide", "spread"], ["work0"]))
        for k in range(work):
            nodes.append(helper.make_node("MatMul", [f"work{k}", "matrix"], [f"work{k + 1}"]))
        nodes += [
            helper.make_node("ReduceMax", [f"work{work}"], ["peak"], keepdims=0),
            helper.make_node("Mul", ["peak", "nothing"], ["zero"]),
            helper.make_node("Add", [last, "zero"], ["worked"]),
        ]
        last = "worked"
    if quantized:
        constants += [
            helper.make_tensor("step", TensorProto.FLOAT, [], [0.125]),
            helper.make_tensor("none", TensorProto.UINT8, [], [0]),
        ]
        nodes += [
            helper.make_node("QuantizeLinear", [last, "step", "none"], ["steps"]),
            helper.make_node("DequantizeLinear", ["steps", "step", "none"], ["rounded"]),
        ]
        last = "rounded"
    nodes.append(helper.make_node("Softmax" if softmax else "Identity", [last], ["logits"]))
    graph = helper.make_graph(
        nodes,
        name,
        [
            helper.make_tensor_value_info(
                "input", TensorProto.UINT8 if pixels else TensorProto.FLOAT, shape
            )
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(class_names)])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if card:
        known: dict[str, Any] = {
            "name": name,
            "architecture": "small_cnn",
            "class_names": class_names,
            "image_size": size,
            "input_layout": layout,
            "mean": (0.0, 0.0, 0.0),
            "std": (1.0, 1.0, 1.0),
            "parameters": 9,
            "macs": 9 + 128**3 * work,
            "weight_bytes": 36,
            "activation_bytes": 4 * 128 * 128 * (work + 1),
        }
        metadata = ModelCard.model_validate({**known, **fields}).to_metadata()
        helper.set_model_props(model, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def coloured_images(
    labels: Sequence[int] | NDArray[np.int64],
    *,
    size: int = SIZE,
    class_names: tuple[str, ...] = COLOURS,
    labelled: bool = True,
    seed: int = 0,
) -> ImageSet:
    """Noisy images in which channel `label` is the strongest."""
    numbers = np.asarray(labels, dtype=np.int64)
    generator = np.random.Generator(np.random.Philox(seed))
    pixels = generator.integers(20, 60, size=(len(numbers), size, size, 3), dtype=np.uint8)
    for image, label in zip(pixels, numbers, strict=True):
        image[..., label % 3] += 100
    return ImageSet("coloured test", pixels, numbers if labelled else None, class_names)


def write_folder(place: Path, images: ImageSet) -> Path:
    """Write labelled images as `test/<class>/<number>.png`."""
    labels = images.known_labels
    for number, pixels in enumerate(images.images[:]):
        folder = place / "test" / images.class_names[labels[number]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number:05}.png")
    return place


def write_export(place: Path, *, wrong: int = 1) -> Path:
    """Write a folder as `compress export` does: a teacher, and a student as fp32 and "int8".

    The teacher takes green for red (answers 1, 1, 2), the student is right, its int8 form takes
    blue for green; so of equally many red, green and blue images they know 2/3, 1 and 2/3.

    Args:
        place: The folder.
        wrong: 0 makes every model right.
    """
    right = (0, 1, 2)
    write_classifier(
        place / "teacher" / "model.onnx",
        name="big",
        role="teacher",
        dataset="colours",
        answers=(1, 1, 2) if wrong else right,
        work=20,
    )
    write_classifier(place / "small" / "model.onnx", name="small", dataset="colours")
    write_classifier(
        place / "small" / "model.int8.onnx",
        name="small",
        dataset="colours",
        precision="int8",
        target="portable",
        answers=(0, 2, 2) if wrong else right,
    )
    return place


def write_more(path: Path, *outputs: str) -> Path:
    """Let a written classifier answer what others do, in this order.

    Args:
        path: As `write_classifier` wrote it.
        outputs: "logits"; "label", the best class as text; "loss", one number for all images.
    """
    model = onnx.load(path)
    graph = model.graph
    graph.node.extend(
        [
            helper.make_node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0),
            helper.make_node("Cast", ["best"], ["label"], to=TensorProto.STRING),
            helper.make_node("ReduceMean", ["logits"], ["loss"], keepdims=0),
        ]
    )
    known = {
        "logits": graph.output[0],
        "label": helper.make_tensor_value_info("label", TensorProto.STRING, [1]),
        "loss": helper.make_tensor_value_info("loss", TensorProto.FLOAT, []),
    }
    asked = [known[name] for name in outputs]
    del graph.output[:]
    graph.output.extend(asked)
    path.write_bytes(model.SerializeToString())
    return path


def in_ort_format(path: Path) -> Path:
    """A model file beside the given one, in ONNX Runtime's own format."""
    converted = path.with_suffix(".ort")
    runtime.open_session(path, optimized_path=converted)
    return converted


def write_identity(path: Path, kind: int, shape: list[int | str]) -> Path:
    """Write a model that answers its input, which is no image classifier's answer."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path
