"""Invented bench records for the tests of what judges them."""

from typing import Any

from compress.config.gate import GateConfig
from compress.records.bench import (
    BenchData,
    BenchModel,
    BenchRecord,
    Difference,
    Ratio,
)
from compress.records.document import Environment
from compress.records.gate import Check, GateRecord

MACHINE = Environment(
    cpu="Example CPU",
    instruction_sets=("avx2",),
    cores=2,
    system="Linux x86_64",
    python="3.11.9",
    packages={"onnxruntime": "1.31.1"},
)
DATA = BenchData(name="cifar10", sha256="d" * 64, images=10_000, of=10_000, labelled=True)


def ratio(value: float, *, width: float = 0.01, to: str = "ruler", processes: int = 5) -> Ratio:
    """A ratio with an interval of `value` times (1 ± width)."""
    return Ratio(
        to=to,
        value=value,
        low=value * (1 - width),
        high=value * (1 + width),
        processes=processes,
    )


def drop(value: float, *, to: str = "big fp32", width: float = 0.002) -> Difference:
    """A difference of accuracies with an interval of ± `width`."""
    return Difference(to=to, top1_drop=value, low=value - width, high=value + width, p_value=0.5)


def row(name: str = "small", precision: str = "fp32", **changes: Any) -> BenchModel:
    """A student's row; what is not said is invented."""
    base: dict[str, Any] = {
        "name": name,
        "role": "student",
        "precision": precision,
        "sha256": f"{name}{precision}",
        "size_bytes": 300 * 1024,
        "parameters": 290_000,
        "macs": 38_600_000,
        "top1": 0.93,
        "top1_low": 0.925,
        "top1_high": 0.935,
        "agreement": 0.95,
        "agreement_low": 0.945,
        "agreement_high": 0.955,
        "images": 10_000,
        "p10_ms": 0.95,
        "p50_ms": 1.0,
        "p50_low_ms": 0.99,
        "p50_high_ms": 1.01,
        "p90_ms": 1.2,
        "p90_low_ms": 1.15,
        "p90_high_ms": 1.25,
        "p99_ms": 2.0,
        "samples": 5000,
        "processes": 5,
        "speedup": 4.0,
        "teacher_ratio": ratio(0.25, to="big fp32"),
        "ruler_ratio": ratio(2.0),
        "teacher_difference": drop(0.004),
    }
    return BenchModel.model_validate({**base, **changes})


def record(*models: BenchModel, **changes: Any) -> BenchRecord:
    """A bench of these rows beside a teacher."""
    teacher = row("big", role="teacher", top1=0.934, speedup=None, teacher_ratio=None)
    base: dict[str, Any] = {
        "models": (teacher, *models),
        "data": DATA,
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "processes": 5,
        "ruler_sha256": "r" * 64,
        "seconds": 12.0,
        "environment": MACHINE,
    }
    return BenchRecord.model_validate({**base, **changes})


def limits(**thresholds: Any) -> GateConfig:
    """A configuration with these thresholds."""
    return GateConfig.model_validate({"target": "x", **thresholds})


def check(**changes: Any) -> Check:
    """One verdict of a gate; what is not said is invented."""
    base: dict[str, Any] = {
        "name": "min-top1",
        "row": "small int8",
        "outcome": "pass",
        "value": 0.93,
        "low": 0.93,
        "high": 0.93,
        "limit": 0.92,
        "unit": "fraction",
        "reason": "top-1 0.9300, at least 0.9200 required",
    }
    return Check.model_validate({**base, **changes})


def verdicts(*checks: Check, code: int = 0) -> GateRecord:
    """A gate with these checks."""
    outcome = {0: "pass", 1: "fail", 6: "inconclusive"}[code]
    return GateRecord.model_validate(
        {
            "outcome": outcome,
            "exit_code": code,
            "target": "exported/x",
            "checks": checks,
            "bench": record(row(), row(precision="int8")),
        }
    )
