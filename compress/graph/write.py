"""Turns a torch model into one clean, small, reproducible ONNX file."""

import re
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import onnx
import onnxsim
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from compress.errors import UnusableError
from compress.graph.preprocessing import widen_constants
from compress.onnx_bytes import DIGEST_KEY, content_digest, external_data
from compress.records.model_card import Layout, ModelCard, Output
from compress.version import VERSION

OPSET = 18
IR_VERSION = 8
OLDEST_ONNXRUNTIME = "1.14"
"""The first release that reads opset 18 in ONNX files of IR version 8."""

INPUT = "image"
LOGITS = "logits"
PROBABILITIES = "probabilities"
CLASSES = "classes"
LAYER_TYPES = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
PATH = re.compile(r"^(/[^/]+){2,}|^[A-Za-z]:[\\/]")


class _Deployed(nn.Module):
    """A classifier that takes its input in the layout of the device."""

    def __init__(self, classifier: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.classifier = classifier
        self.layout = layout

    def forward(self, image: Tensor) -> Tensor:
        """Map images in the device's layout to logits."""
        if self.layout == "uint8-nhwc":
            # contiguous() keeps ONNX Runtime from running the whole network on a strided view
            image = image.permute(0, 3, 1, 2).contiguous()
        logits: Tensor = self.classifier(image)
        return logits


def write_graph(
    classifier: nn.Module,
    *,
    layout: Layout,
    image_size: int,
    channels: int = 3,
    batch: Literal["1", "dynamic"] = "1",
) -> ModelProto:
    """Export a classifier, fold its BatchNorms, simplify, and strip what does not belong in it.

    Args:
        classifier: In evaluation mode on the CPU. For uint8-nhwc it takes uint8 (batch, channels,
            image_size, image_size) and normalises; for float-nchw it takes normalised floats.
        layout: The graph's input.
        image_size: Side of the input in pixels.
        channels: Of the input.
        batch: Images per call.

    Returns:
        A graph from `image` to `logits` in float32, opset 18, checked; layers are named like the
        torch modules they come from.

    Raises:
        UnusableError: The graph came out in another opset, or is not valid.
    """
    sides = (image_size, image_size)
    count = 1 if batch == "1" else 2
    example = (
        torch.zeros(count, *sides, channels, dtype=torch.uint8)
        if layout == "uint8-nhwc"
        else torch.zeros(count, channels, *sides)
    )
    dynamic = {INPUT: {0: torch.export.Dim("batch")}} if batch == "dynamic" else None
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Deployed(classifier, layout).eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=[INPUT],
            output_names=[LOGITS],
            dynamic_shapes=dynamic,
            verbose=False,
        )
    if program is None:
        raise ValueError("torch.onnx.export returned nothing")
    model, right = onnxsim.simplify(program.model_proto)
    if not right:
        raise UnusableError(
            "onnxsim changed what the graph computes", hint="report this model to onnxsim"
        )
    _pool_globally(model)
    widen_constants(model, image_size)
    _strip(model)
    _name_layers(model)
    return finish(model)


def add_head(model: ModelProto, output: Output, *, classes: int, top_k: int) -> ModelProto:
    """Let a graph answer probabilities, or the best classes, instead of logits.

    Args:
        model: Answers `logits`; left as it is.
        output: "logits" returns it unchanged.
        classes: Length of the logits.
        top_k: Classes answered by "top-k", at most `classes`.

    Returns:
        A graph that answers `probabilities` (batch, classes) in float32; or `probabilities` and
        `classes`, both (batch, top_k), the latter int64, best first.
    """
    if output == "logits":
        return model
    changed = ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    first: Any = batch.dim_param or batch.dim_value
    del graph.output[:]
    wanted = PROBABILITIES if output == "softmax" else "all_probabilities"
    graph.node.append(helper.make_node("Softmax", [LOGITS], [wanted], name="softmax", axis=1))
    if output == "softmax":
        graph.output.append(
            helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [first, classes])
        )
        return finish(changed)
    graph.initializer.append(helper.make_tensor("top_k", TensorProto.INT64, [1], [top_k]))
    graph.node.append(
        helper.make_node("TopK", [wanted, "top_k"], [PROBABILITIES, CLASSES], name="top_k", axis=1)
    )
    graph.output.extend(
        [
            helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [first, top_k]),
            helper.make_tensor_value_info(CLASSES, TensorProto.INT64, [first, top_k]),
        ]
    )
    return finish(changed)


def seal(model: ModelProto, card: ModelCard) -> bytes:
    """The file: the graph with its card and a digest of its own content.

    Raises:
        UnusableError: The graph is not valid, or holds what must not be shipped.
    """
    sealed = ModelProto()
    sealed.CopyFrom(model)
    _strip(sealed)
    # every reader infers the shapes again; in an int8 file they are up to a tenth of the bytes
    del sealed.graph.value_info[:]
    helper.set_model_props(sealed, card.to_metadata())
    digest = content_digest(sealed.SerializeToString(deterministic=True), source=card.name)
    entry = sealed.metadata_props.add()
    entry.key, entry.value = DIGEST_KEY, digest
    data: bytes = sealed.SerializeToString(deterministic=True)
    check_clean(data, source=card.name)
    return data


def check_clean(data: bytes, *, source: str) -> None:
    """Refuse a file that a device should not get.

    Raises:
        UnusableError: Invalid, of another opset, with external data, build paths, node traces or
            the simplifier's own keys.
    """
    model = onnx.load_model_from_string(data)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UnusableError(f"{source}: the graph is not valid ONNX: {_line(error)}") from error
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets.get("") != OPSET:
        raise UnusableError(f"{source}: the graph has opset {opsets.get('')}, asked for {OPSET}")
    if external_data(data, source=source):
        raise UnusableError(f"{source}: the graph keeps weights outside its file")
    if any(entry.key.startswith("onnxsim.") for entry in model.metadata_props):
        raise UnusableError(f"{source}: the graph holds keys of onnxsim")
    for text in _texts(model):
        if PATH.search(text):
            raise UnusableError(f"{source}: the graph holds the path {text!r}")
    if any(node.metadata_props or node.doc_string for node in model.graph.node):
        raise UnusableError(f"{source}: the graph holds traces of how it was built")


def layers(model: ModelProto) -> list[str]:
    """The convolutions and linear layers of a float graph, by name, in order."""
    return [node.name for node in model.graph.node if node.op_type in LAYER_TYPES]


def bytes_moved(model: ModelProto, precision: Literal["fp32", "fp16", "int8"]) -> tuple[int, int]:
    """Memory that convolutions and linear layers read and write for one image.

    What lies between them (activations, adds, pooling) is taken to be fused into them.

    Args:
        model: A float graph.
        precision: Decides the size of a number; biases stay at four bytes in int8.

    Returns:
        Bytes of weights and biases, and bytes of inputs and outputs.
    """
    size = ELEMENT_BYTES[precision]
    sizes = {tensor.name: _count(tensor.dims) for tensor in model.graph.initializer}
    shapes = onnx.shape_inference.infer_shapes(model).graph
    values = {
        value.name: _count([dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim])
        for value in [*shapes.value_info, *shapes.input, *shapes.output]
    }
    weights = activations = 0
    for node in model.graph.node:
        if node.op_type not in LAYER_TYPES:
            continue
        weights += size * sizes.get(node.input[1], 0)
        if len(node.input) > 2:
            weights += sizes.get(node.input[2], 0) * (4 if precision == "int8" else size)
        activations += size * (values.get(node.input[0], 0) + values.get(node.output[0], 0))
    return weights, activations


def _count(dims: Any) -> int:
    total = 1
    for dim in dims:
        total *= int(dim)
    return total


def _pool_globally(model: ModelProto) -> None:
    """Write means over height and width as GlobalAveragePool.

    ONNX Runtime computes it in exact integers in an int8 graph; ReduceMean would stay in float,
    where the order of the sum, and so its rounding, depends on the CPU.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        if node.op_type != "ReduceMean" or len(node.input) < 2 or node.input[1] not in constants:
            continue
        axes = sorted(int(axis) % 4 for axis in numpy_helper.to_array(constants[node.input[1]]))
        keep = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
        if axes != [2, 3]:
            continue
        pooled = node.output[0] if keep else f"{node.output[0]}_pooled"
        pool = helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name="pool")
        index = list(graph.node).index(node)
        graph.node.remove(node)
        graph.node.insert(index, pool)
        if not keep:
            # Reshape, since CoreML's newer form does not take Flatten
            shape = helper.make_tensor(f"{pooled}_shape", TensorProto.INT64, [2], [0, -1])
            graph.initializer.append(shape)
            flat = helper.make_node("Reshape", [pooled, shape.name], node.output, name="flatten")
            graph.node.insert(index + 1, flat)
    _drop_unused(model)


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _strip(model: ModelProto) -> None:
    """Remove traces of the build: metadata of nodes and values, doc strings, the simplifier's."""
    graph = model.graph
    for part in [graph, *graph.node, *graph.initializer, *_values(model)]:
        part.doc_string = ""
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
    del model.metadata_props[:]
    model.doc_string = ""
    graph.name = "compress"
    model.producer_name, model.producer_version = "compress", VERSION


def _values(model: ModelProto) -> Iterator[Any]:
    yield from model.graph.value_info
    yield from model.graph.input
    yield from model.graph.output


def _name_layers(model: ModelProto) -> None:
    """Name convolutions and linear layers like the torch modules whose weights they hold."""
    names: dict[str, str] = {}
    for tensor in model.graph.initializer:
        names[tensor.name] = re.sub(r"^(classifier\.)(model\.)*", "", tensor.name)
    if len(set(names.values())) < len(names):
        return
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
        wanted = node.input[1].removesuffix(".weight") if node.op_type in LAYER_TYPES else ""
        if not wanted or wanted in taken:
            wanted = f"{node.op_type.lower()}_{number}"
        taken.add(wanted)
        node.name = wanted


def finish(model: ModelProto) -> ModelProto:
    """Sort the nodes, infer shapes, set the oldest format that holds the opset, and check.

    Args:
        model: Changed in place.

    Raises:
        UnusableError: Another opset than asked for, or not valid.
    """
    found = {entry.domain: entry.version for entry in model.opset_import}.get("")
    if found != OPSET:
        raise UnusableError(f"the exporter wrote opset {found}, asked for {OPSET}")
    model.ir_version = IR_VERSION
    del model.graph.value_info[:]
    _sort(model)
    try:
        finished = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(finished, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UnusableError(f"the graph is not valid ONNX: {_line(error)}") from error
    return finished


def _sort(model: ModelProto) -> None:
    """Put every node after those it reads from, otherwise keeping the order."""
    nodes = list(model.graph.node)
    made_by = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    order: list[int] = []
    placed: set[int] = set()
    waiting = list(reversed(range(len(nodes))))
    while waiting:
        at = waiting[-1]
        missing = [made_by[name] for name in nodes[at].input if name in made_by]
        missing = [other for other in missing if other not in placed]
        if at in placed:
            waiting.pop()
        elif missing:
            waiting.extend(reversed(missing))
        else:
            placed.add(at)
            order.append(waiting.pop())
    ordered = [NodeProto.FromString(nodes[at].SerializeToString()) for at in order]
    del model.graph.node[:]
    model.graph.node.extend(ordered)


def _texts(model: ModelProto) -> Iterator[str]:
    """Every text in a model but class names."""
    yield from (model.doc_string, model.producer_name, model.domain, model.graph.doc_string)
    for entry in model.metadata_props:
        yield from (entry.key, entry.value)
    for node in model.graph.node:
        yield from _node_texts(node)
    for tensor in model.graph.initializer:
        yield tensor.name


def _node_texts(node: NodeProto) -> Iterator[str]:
    yield from (node.name, node.doc_string, *node.input, *node.output)
    for attribute in node.attribute:
        if attribute.s:
            yield attribute.s.decode("utf-8", "replace")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
