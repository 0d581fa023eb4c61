"""Throughput records as the benchmark would have written them."""

from compress.records.throughput import PairThroughput, ThroughputRecord
from tests.fake_run import ENVIRONMENT

PAIR = PairThroughput(
    name="W2",
    teacher="resnet56",
    student="small_cnn:width=0.5",
    steps=12,
    teacher_format="NHWC, bfloat16",
    student_format="NHWC, bfloat16",
    limit_teacher_format="NHWC, bfloat16",
    limit_student_format="NHWC, bfloat16",
    plain=(100.0, 50.0, 100.0),
    uncached=(200.0, 100.0, 220.0),
    cached=(500.0, 300.0, 450.0),
    limit_with_teacher=(210.0, 105.0, 200.0),
    limit_student=(500.0, 300.0, 500.0),
)


def throughput(*pairs: PairThroughput) -> ThroughputRecord:
    """A record of these pairs."""
    return ThroughputRecord(
        command="python benchmarks/distill_throughput.py",
        batch_size=128,
        image_size=32,
        threads=2,
        device="cpu",
        pairs=pairs,
        seconds=10.0,
        environment=ENVIRONMENT,
    )
