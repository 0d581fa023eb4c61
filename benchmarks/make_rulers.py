"""Build the fixed graphs that `compress bench` measures machines with.

    python benchmarks/make_rulers.py [--out DIR]

Four graphs, written to compress/measure/ unless told otherwise; a test rebuilds them and compares
their sha256:

    ruler.onnx         a small CNN like the students it stands beside (19.6 MMACs, 0.32 M weights)
    peak_fp32.onnx     one matrix product that keeps the float units busy
    peak_int8.onnx     the same in unsigned times signed 8 bits
    peak_memory.onnx   a sum over an input of any length: its bytes are read once

Weights are a short integer formula inside the graph, which ONNX Runtime folds when it opens a
session: the files stay below 10 KB, and nothing in them depends on a generator or a machine.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, checker, helper

OPSET = 18
IR_VERSION = 9
"""Read by every ONNX Runtime the package allows."""

GEMM = (512, 512, 512)
"""Rows, depth, columns of the peak products: 1 MiB of float weights, about 1 ms on one thread."""


@dataclass
class Graph:
    """Nodes and constants collected while a graph is written down."""

    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    drawn: int = 0
    """Weights written so far; each continues the formula, since equal ones would share memory."""

    def node(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Add an operator and give the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, kind: int, shape: list[int], values: list[int | float]) -> str:
        """Add a constant and give its name."""
        self.constants.append(helper.make_tensor(name, kind, shape, values))
        return name

    def weight(self, name: str, shape: list[int], *, scale: float | None) -> str:
        """The next values of (7919·i mod 251) − 125, as int8 without `scale`, else times it."""
        count = 1
        for side in shape:
            count *= side
        integer = TensorProto.INT64
        bounds = [
            self.constant(f"{name}_{what}", integer, [], [value])
            for what, value in (("first", self.drawn), ("end", self.drawn + count), ("step", 1))
        ]
        self.drawn += count
        index = self.node("Range", bounds, f"{name}_index")
        factor = self.constant(f"{name}_factor", integer, [], [7919])
        modulus = self.constant(f"{name}_modulus", integer, [], [251])
        half = self.constant(f"{name}_half", integer, [], [125])
        product = self.node("Mul", [index, factor], f"{name}_product")
        residue = self.node("Mod", [product, modulus], f"{name}_residue")
        centred = self.node("Sub", [residue, half], f"{name}_centred")
        kind = TensorProto.INT8 if scale is None else TensorProto.FLOAT
        values = self.node("Cast", [centred], f"{name}_values", to=kind)
        if scale is not None:
            factor = self.constant(f"{name}_scale", TensorProto.FLOAT, [], [scale])
            values = self.node("Mul", [values, factor], f"{name}_scaled")
        sides = self.constant(f"{name}_shape", integer, [len(shape)], list(shape))
        return self.node("Reshape", [values, sides], name)

    def convolution(
        self, source: str, name: str, *, channels: tuple[int, int], kernel: int, stride: int = 1,
        groups: int = 1,
    ) -> str:  # fmt: skip
        """A convolution that keeps the map's size (stride 1) or halves it, and its ReLU."""
        inputs, outputs = channels
        fan_in = inputs // groups * kernel * kernel
        # 72.5 is the standard deviation of the weight formula: unit variance in, unit variance out.
        weight = self.weight(
            f"{name}_weight", [outputs, inputs // groups, kernel, kernel],
            scale=(2.0 / fan_in) ** 0.5 / 72.5,
        )  # fmt: skip
        padding = [kernel // 2] * 4
        output = self.node(
            "Conv", [source, weight], f"{name}_conv", kernel_shape=[kernel, kernel],
            strides=[stride, stride], pads=padding, group=groups,
        )  # fmt: skip
        return self.node("Relu", [output], f"{name}_relu")

    def model(
        self, name: str, source: tuple[int, list[int | str]], target: tuple[str, int, list[int]]
    ) -> ModelProto:
        """The finished model, accepted by the full checker."""
        output, kind, shape = target
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("input", *source)],
            [helper.make_tensor_value_info(output, kind, shape)],
            self.constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="compress",
        )
        checker.check_model(model, full_check=True)
        return model


def ruler() -> ModelProto:
    """Dense and depthwise convolutions in the proportions of a small student at 32x32 pixels."""
    graph = Graph()
    x = graph.convolution("input", "stem", channels=(3, 32), kernel=3)
    x = graph.convolution(x, "dense1", channels=(32, 64), kernel=3, stride=2)
    x = graph.convolution(x, "depthwise", channels=(64, 64), kernel=3, groups=64)
    x = graph.convolution(x, "pointwise", channels=(64, 128), kernel=1)
    x = graph.convolution(x, "dense2", channels=(128, 128), kernel=3, stride=2)
    x = graph.convolution(x, "dense3", channels=(128, 128), kernel=3, stride=2)
    x = graph.node("GlobalAveragePool", [x], "pool")
    x = graph.node("Flatten", [x], "features")
    weight = graph.weight("classifier_weight", [128, 10], scale=(1 / 128) ** 0.5 / 72.5)
    graph.node("MatMul", [x, weight], "logits")
    return graph.model(
        "ruler", (TensorProto.FLOAT, [1, 3, 32, 32]), ("logits", TensorProto.FLOAT, [1, 10])
    )


def peak_fp32() -> ModelProto:
    """One float32 matrix product of GEMM's shape."""
    rows, depth, columns = GEMM
    graph = Graph()
    weight = graph.weight("weight", [depth, columns], scale=1 / 1024)
    graph.node("MatMul", ["input", weight], "output")
    return graph.model(
        "peak_fp32",
        (TensorProto.FLOAT, [rows, depth]),
        ("output", TensorProto.FLOAT, [rows, columns]),
    )


def peak_int8() -> ModelProto:
    """The same product of uint8 activations and int8 weights, summed in int32."""
    rows, depth, columns = GEMM
    graph = Graph()
    weight = graph.weight("weight", [depth, columns], scale=None)
    graph.node("MatMulInteger", ["input", weight], "output")
    return graph.model(
        "peak_int8",
        (TensorProto.UINT8, [rows, depth]),
        ("output", TensorProto.INT32, [rows, columns]),
    )


def peak_memory() -> ModelProto:
    """The sum of a float32 vector of any length."""
    graph = Graph()
    graph.node("ReduceSum", ["input"], "output", keepdims=0)
    return graph.model(
        "peak_memory", (TensorProto.FLOAT, ["length"]), ("output", TensorProto.FLOAT, [])
    )


GRAPHS = {
    "ruler": ruler,
    "peak_fp32": peak_fp32,
    "peak_int8": peak_int8,
    "peak_memory": peak_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the fixed graphs of compress/measure.")
    default = Path(__file__).resolve().parent.parent / "compress" / "measure"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, build in GRAPHS.items():
        content = build().SerializeToString(deterministic=True)
        (out / f"{name}.onnx").write_bytes(content)
        print(f"{name}.onnx  {len(content)} bytes")


if __name__ == "__main__":
    main()
