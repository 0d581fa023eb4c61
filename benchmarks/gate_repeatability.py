"""Show that the latency gate does not cry wolf and does not sleep, on a machine under load.

    python benchmarks/gate_repeatability.py [--repeats 30] [--part all|same|slower|idle|ratio]

Four experiments on an untrained small_cnn, through the installed command:

    same     `gate MODEL --baseline MODEL --max-latency-regression 0.05`, the same file twice,
             while another process loads one core: no verdict may be "fail"
    slower   the same with a graph that does 10% more work: at least 29 of 30 must be "fail"
    idle     the same file twice without load, for the time a verdict takes: none may be "fail"
    ratio    the ratio int8 / fp32 of ten benches without load: all within 2% of their mean

Every part writes benchmarks/records/gate_repeatability.json anew with what is known so far, so that
a part can be repeated alone. The extra work is chosen by a measurement without load to be 10%.
Run it on a machine where nothing else runs: about 20 minutes. Ends with 1 where a target is missed,
or a part has not been measured yet.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import onnx
from onnx import TensorProto, helper

from compress.config.bench import BenchConfig
from compress.config.specs import StudentSpec
from compress.environment import read_environment
from compress.files import write_text
from compress.measure.process import Job, measure
from compress.progress import Silent
from compress.runtime import CPU
from compress.stages.candidates import exported

RECORD = Path(__file__).resolve().parent / "records" / "gate_repeatability.json"
PARTS = ("same", "slower", "idle", "ratio")
LIMIT = 0.05
SLOW_DOWN, SLOW_DOWN_ERROR = 1.10, 0.01
LONGEST_SECONDS = 30.0
RATIO_SPREAD = 0.02
SIDE = 64
"""Of the square matrices that the slower graph multiplies in vain."""

SPIN = """
import numpy
a = numpy.random.default_rng(0).random((600, 600))
while True:
    a = numpy.tanh(a @ a * 1e-3)
"""


def with_extra_work(source: Path, target: Path, products: int) -> None:
    """Write a model that also multiplies matrices, without a change of its answers."""
    model = onnx.load(source)
    graph = model.graph
    output = graph.output[0].name
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    for node in graph.node:
        for place, name in enumerate(node.output):
            if name == output:
                node.output[place] = "before"
    matrix, spread = [1 / SIDE] * SIDE * SIDE, [1e-3] * classes * SIDE
    graph.initializer.extend(
        [
            helper.make_tensor("column", TensorProto.FLOAT, [SIDE, 1], [1.0] * SIDE),
            helper.make_tensor("spread", TensorProto.FLOAT, [classes, SIDE], spread),
            helper.make_tensor("matrix", TensorProto.FLOAT, [SIDE, SIDE], matrix),
            helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]),
        ]
    )  # fmt: skip
    graph.node.append(helper.make_node("MatMul", ["column", "before"], ["wide"]))
    graph.node.append(helper.make_node("MatMul", ["wide", "spread"], ["work0"]))
    for number in range(products):
        graph.node.append(
            helper.make_node("MatMul", [f"work{number}", "matrix"], [f"work{number + 1}"])
        )
    graph.node.append(helper.make_node("ReduceMax", [f"work{products}"], ["peak"], keepdims=0))
    graph.node.append(helper.make_node("Mul", ["peak", "nothing"], ["zero"]))
    graph.node.append(helper.make_node("Add", ["before", "zero"], [output]))
    del model.metadata_props[:]
    onnx.checker.check_model(model)
    onnx.save(model, target)


def choose_slower(base: Path, folder: Path) -> tuple[Path, float, int]:
    """The model whose measured time is nearest to SLOW_DOWN times that of `base`."""
    tried: dict[int, tuple[float, Path]] = {}
    products = 16
    for _ in range(6):
        path = folder / f"slower{products}.onnx"
        with_extra_work(base, path, products)
        jobs = [Job("base", str(base)), Job("slower", str(path))]
        found = measure(
            jobs, threads=1, provider=CPU, max_seconds=20,
            enough=lambda seen: seen.ratio("slower", "base").relative_width < 0.01,
        )  # fmt: skip
        ratio = found.ratio("slower", "base").value
        tried[products] = (ratio, path)
        print(f"  {products} products of {SIDE}x{SIDE}: {ratio:.3f}x", flush=True)
        if abs(ratio - SLOW_DOWN) < 0.005:
            break
        products = max(1, round(products * (SLOW_DOWN - 1) / max(ratio - 1, 0.005)))
        if products in tried:
            break
    chosen = min(tried, key=lambda number: abs(tried[number][0] - SLOW_DOWN))
    return tried[chosen][1], tried[chosen][0], chosen


@contextmanager
def load(on: bool) -> Iterator[None]:
    """Another process that keeps one core busy, wherever the system puts it."""
    if not on:
        yield
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", SPIN], env=environment)
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError("the process that loads a core ended before its time")
    finally:
        process.kill()
        process.wait()


def compress(*arguments: object) -> tuple[int, dict[str, Any], float]:
    """Run the command: exit code, its JSON, and the seconds it took."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "compress", *map(str, arguments), "--json", "-", "--quiet"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - begin
    if not done.stdout:
        raise RuntimeError(done.stderr)
    return done.returncode, json.loads(done.stdout), seconds


def gates(target: Path, baseline: Path, *, repeats: int, loaded: bool) -> dict[str, Any]:
    """Judge one pair again and again."""
    codes, values, widths, times, processes = [], [], [], [], []
    with load(loaded):
        for number in range(repeats):
            code, record, seconds = compress(
                "gate", target, "--baseline", baseline, "--max-latency-regression", LIMIT
            )
            (check,) = record["checks"]
            codes.append(code)
            times.append(seconds)
            processes.append(record["bench"]["processes"])
            if check["value"] is not None:
                values.append(check["value"])
                widths.append((check["high"] - check["low"]) / 2 / check["value"])
            print(f"  {number + 1}/{repeats}: {check['outcome']:12} {check['reason']}", flush=True)
    return {
        "repeats": repeats,
        "loaded": loaded,
        "passed": codes.count(0),
        "failed": codes.count(1),
        "inconclusive": codes.count(6),
        "ratio_mean": mean(values),
        "ratio_sd": stdev(values) if len(values) > 1 else None,
        "ratios": values,
        "mean_half_width": mean(widths),
        "longest_seconds": max(times),
        "mean_seconds": mean(times),
        "mean_processes": mean(processes),
    }


def int8_ratios(fp32: Path, int8: Path, *, repeats: int) -> dict[str, Any]:
    """The ratio int8 / fp32 of several benches."""
    values = []
    for number in range(repeats):
        _, record, _ = compress("bench", fp32, int8)
        values += [
            model["fp32_ratio"]["value"] for model in record["models"] if model["fp32_ratio"]
        ]
        print(f"  {number + 1}/{repeats}: int8 / fp32 = {values[-1]:.4f}", flush=True)
    centre = mean(values)
    return {
        "repeats": repeats,
        "ratios": values,
        "mean": centre,
        "sd": stdev(values) if len(values) > 1 else None,
        "largest_deviation": max(abs(value / centre - 1) for value in values),
    }


def missed(record: dict[str, Any]) -> list[str]:
    """The targets that are not met, in words, and the parts that were not measured."""
    words = [f"{part} was not measured" for part in PARTS if part not in record]
    slower, ratio = record.get("slower"), record.get("ratio")
    for part in ("same", "idle"):
        if part in record and record[part]["failed"]:
            pairs = f"{record[part]['failed']} of {record[part]['repeats']} identical pairs"
            words.append(f"{pairs} of {part} failed")
    if slower and abs(slower["true_ratio"] - SLOW_DOWN) > SLOW_DOWN_ERROR:
        words.append(f"the slower graph takes {slower['true_ratio']:.3f} times as long")
    if slower and slower["failed"] < slower["repeats"] * 29 / 30:
        words.append(f"{slower['failed']} of {slower['repeats']} slower graphs were caught")
    words += [
        f"a verdict of {part} took {record[part]['longest_seconds']:.0f} s"
        for part in ("same", "slower", "idle")
        if part in record and record[part]["longest_seconds"] > LONGEST_SECONDS
    ]
    if ratio and ratio["largest_deviation"] > RATIO_SPREAD:
        words.append(f"int8 / fp32 deviates by {ratio['largest_deviation']:.1%}")
    return words


def of_this_machine(record: dict[str, Any]) -> bool:
    """Whether the parts of a record were measured with this processor and these packages."""
    now, before = read_environment().model_dump(mode="json"), record["environment"]
    return all(now[key] == before[key] for key in ("cpu", "instruction_sets", "packages"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure how repeatable the latency gate is.")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--part", choices=("all", *PARTS), default="all")
    parser.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args()
    parts = PARTS if options.part == "all" else (options.part,)
    record: dict[str, Any] = {}
    if options.part != "all" and options.out.is_file():
        record = json.loads(options.out.read_text(encoding="utf-8"))
        if not of_this_machine(record):
            parser.error(
                f"{options.out} was measured on another machine: repeat all parts, or use --out"
            )
    record |= {
        "schema": 1,
        "command": "python benchmarks/gate_repeatability.py",
        "limit": LIMIT,
        "environment": read_environment().model_dump(mode="json"),
    }

    def keep(part: str, found: dict[str, Any]) -> None:
        record[part] = found
        record["missed"] = missed(record)
        write_text(options.out, json.dumps(record, indent=2) + "\n")

    student = StudentSpec.parse("small_cnn")
    with (
        tempfile.TemporaryDirectory() as name,
        exported(BenchConfig(student=(student,)), Silent()) as made,
    ):
        folder = Path(made.candidates[0].target)
        fp32, int8 = folder / "model.onnx", folder / "model.int8.onnx"
        if "same" in parts:
            print("identical graphs, one core loaded", flush=True)
            keep("same", gates(fp32, fp32, repeats=options.repeats, loaded=True))
        if "slower" in parts:
            print("looking for 10% more work, without load", flush=True)
            slower, ratio, products = choose_slower(fp32, Path(name))
            print(f"a graph of {ratio:.3f}x the time, one core loaded", flush=True)
            found = gates(slower, fp32, repeats=options.repeats, loaded=True)
            keep("slower", {**found, "true_ratio": ratio, "products": products})
        if "idle" in parts:
            print("identical graphs, without load", flush=True)
            keep("idle", gates(fp32, fp32, repeats=3, loaded=False))
        if "ratio" in parts:
            print("int8 / fp32, without load", flush=True)
            keep("ratio", int8_ratios(fp32, int8, repeats=min(10, options.repeats)))
    problems = record["missed"]
    for part in ("same", "slower", "idle"):
        if part in record:
            row = record[part]
            print(
                f"{part:7} pass {row['passed']}  fail {row['failed']}  "
                f"cannot tell {row['inconclusive']}  ratio {row['ratio_mean']:.3f}  "
                f"longest {row['longest_seconds']:.1f} s"
            )
    if "ratio" in record:
        row = record["ratio"]
        print(f"ratio   int8 / fp32 {row['mean']:.4f}, within {row['largest_deviation']:.2%}")
    print("\n".join(f"missed: {problem}" for problem in problems) or "all targets met")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
