import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from compress.measure import roofline
from compress.measure.latency import Timing
from compress.measure.process import Measurement, ProcessResult, Sample
from compress.measure.roofline import FOLDER, GEMM_MACS, RULER, STREAM_BYTES, Peaks

ROOT = Path(__file__).resolve().parents[2]
GRAPHS = ("ruler", "peak_fp32", "peak_int8", "peak_memory")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_shipped_graphs_are_what_the_script_builds(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "make_rulers.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    built = {path.name: sha256(path) for path in tmp_path.iterdir()}
    assert built == {f"{name}.onnx": sha256(FOLDER / f"{name}.onnx") for name in GRAPHS}


def test_the_ruler_of_version_one_never_changes() -> None:
    # records of old benches compare with this graph: another one needs another name
    assert sha256(RULER).startswith("fc63b2e3e567a79c")


@pytest.mark.parametrize("name", ["peak_fp32", "peak_int8"])
def test_onnxruntime_folds_everything_but_the_product(name: str, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(FOLDER / f"{name}.onnx"), options)
    graph = onnx.load(tmp_path / "optimized.onnx").graph
    assert len(graph.node) == 1
    rows = graph.input[0].type.tensor_type.shape.dim[0].dim_value
    depth, columns = graph.initializer[0].dims
    assert rows * depth * columns == GEMM_MACS


def test_the_ruler_answers_ordinary_numbers() -> None:
    session = onnxruntime.InferenceSession(str(RULER))
    pixels = np.linspace(0, 1, 3 * 32 * 32, dtype=np.float32).reshape(1, 3, 32, 32)
    (logits,) = session.run(None, {"input": pixels})
    assert logits.shape == (1, 10)
    assert np.isfinite(logits).all()
    assert 0.001 < logits.std() < 100


def test_the_stream_reads_as_many_bytes_as_it_is_given() -> None:
    session = onnxruntime.InferenceSession(str(FOLDER / "peak_memory.onnx"))
    (total,) = session.run(None, {"input": np.ones(STREAM_BYTES[0] // 4, dtype=np.float32)})
    assert total == STREAM_BYTES[0] // 4


PEAKS = Peaks(fp32=50e9, int8=200e9, bandwidth={2**18: 60e9, 2**21: 40e9, 2**25: 10e9})


def test_a_model_rich_in_arithmetic_is_limited_by_it() -> None:
    limit = PEAKS.limit_ms(macs=100_000_000, bytes_moved=1_000_000, precision="fp32")
    assert limit == pytest.approx(2.0)


def test_int8_is_limited_by_the_int8_peak_and_fp16_by_the_float_one() -> None:
    macs, few = 100_000_000, 1000
    assert PEAKS.limit_ms(macs=macs, bytes_moved=few, precision="int8") == pytest.approx(0.5)
    assert PEAKS.limit_ms(macs=macs, bytes_moved=few, precision="fp16") == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("bytes_moved", "milliseconds"),
    [(200_000, 200_000 / 60e6), (1_000_000, 1 / 40), (20_000_000, 2.0), (10**9, 100.0)],
)
def test_a_model_poor_in_arithmetic_is_limited_by_the_memory_it_fits_into(
    bytes_moved: int, milliseconds: float
) -> None:
    limit = PEAKS.limit_ms(macs=1000, bytes_moved=bytes_moved, precision="fp32")
    assert limit == pytest.approx(milliseconds)


def test_peaks_are_the_lowest_decile_of_their_calls() -> None:
    milliseconds = {"peak:fp32": 2.0, "peak:int8": 0.5}
    milliseconds |= {f"peak:{size}": size / 1e7 for size in STREAM_BYTES}
    samples = {
        name: Sample(1.0, 1.0, Timing(name, np.round(np.array([[m] * 8 + [9 * m] * 2]) * 1e6)))
        for name, m in milliseconds.items()
    }
    assert set(samples) == {job.name for job in roofline.jobs()}
    peaks = roofline.peaks(Measurement([ProcessResult(samples, 0, 0)]))
    assert peaks.fp32 == pytest.approx(GEMM_MACS / 0.002)
    assert peaks.int8 == pytest.approx(GEMM_MACS / 0.0005)
    assert peaks.bandwidth == pytest.approx(dict.fromkeys(STREAM_BYTES, 1e10), rel=1e-3)
