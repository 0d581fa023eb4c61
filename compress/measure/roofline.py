"""How fast this machine could run a model at best, from peaks measured beside it.

The roofline of Williams, Waterman, Patterson, "Roofline: An Insightful Visual Performance Model for
Multicore Architectures", 2009: a model can be no faster than its arithmetic at the peak rate of the
matrix units, nor than its bytes at the bandwidth of the memory level they fit into.
"""

from dataclasses import dataclass
from pathlib import Path

from compress.measure.process import Job, Measurement

FOLDER = Path(__file__).resolve().parent
RULER = FOLDER / "ruler.onnx"
GEMM_MACS = 512 * 512 * 512
"""Of peak_fp32.onnx and peak_int8.onnx, fixed by benchmarks/make_rulers.py."""

STREAM_BYTES = (256 * 1024, 2 * 1024**2, 32 * 1024**2)
"""What peak_memory.onnx reads in one call: about the first-level cache, the second, and beyond."""

FASTEST = 10
"""Per cent. A peak is the lowest decile of its calls: the machine at its best, no lucky tick."""


@dataclass(frozen=True)
class Peaks:
    """What the machine can do at best with the threads it was measured with.

    Attributes:
        fp32: Multiply-accumulates per second in float32.
        int8: The same in unsigned times signed 8 bits.
        bandwidth: Bytes read per second, by how many bytes are read again and again.
    """

    fp32: float
    int8: float
    bandwidth: dict[int, float]

    def limit_ms(self, *, macs: int, bytes_moved: int, precision: str) -> float:
        """The least time one inference can take, in milliseconds.

        Args:
            macs: Multiply-accumulates of one inference.
            bytes_moved: Weights read, and activations read and written.
            precision: `int8` computes at the int8 peak, anything else at the float32 peak.
        """
        compute = macs / (self.int8 if precision == "int8" else self.fp32)
        levels = sorted(self.bandwidth)
        level = next((size for size in levels if bytes_moved <= size), levels[-1])
        return 1000 * max(compute, bytes_moved / self.bandwidth[level])


def jobs() -> tuple[Job, ...]:
    """What a measurement must time for `peaks`."""
    streams = tuple(
        Job(f"peak:{size}", str(FOLDER / "peak_memory.onnx"), shape=(size // 4,))
        for size in STREAM_BYTES
    )
    return (
        Job("peak:fp32", str(FOLDER / "peak_fp32.onnx")),
        Job("peak:int8", str(FOLDER / "peak_int8.onnx")),
        *streams,
    )


def peaks(measurement: Measurement) -> Peaks:
    """The peaks in a measurement whose jobs held those of `jobs`."""

    def seconds(name: str) -> float:
        return measurement.percentile(name, FASTEST).value / 1000

    return Peaks(
        fp32=GEMM_MACS / seconds("peak:fp32"),
        int8=GEMM_MACS / seconds("peak:int8"),
        bandwidth={size: size / seconds(f"peak:{size}") for size in STREAM_BYTES},
    )
