"""The figures of an artifact beside their targets."""

from typing import Any

import pytest

from tests.scripts import load_script


@pytest.fixture(scope="module")
def targets() -> Any:
    """The script as a module."""
    return load_script("benchmarks", "artifact_targets")


def export(seconds: float, left: list[str]) -> Any:
    manifest = {
        "label": "tiny",
        "role": "student",
        "card": {"architecture": "small_cnn"},
        "quantization": {"float_layers": left},
    }
    return {"artifacts": [{"manifest": manifest, "seconds": seconds}]}


def bench(ratio: float, lost: float, macs: float, size: int) -> Any:
    fp32 = {"name": "tiny", "precision": "fp32", "size_bytes": 1000, "macs": macs}
    paired = {"fp32_ratio": {"value": ratio}, "fp32_difference": {"top1_drop": lost}}
    return {"models": [fp32, {**fp32, "precision": "int8", "size_bytes": size, **paired}]}


def missed(targets: Any, *, vnni: bool = True, **figures: Any) -> list[str]:
    given: dict[str, Any] = {
        "seconds": 20.0,
        "left": [],
        "ratio": 0.44,
        "lost": 0.001,
        "macs": 1e6,
        "size": 280,
    }
    given |= figures
    found = targets.judged(
        export(given["seconds"], given["left"]),
        bench(given["ratio"], given["lost"], given["macs"], given["size"]),
        vnni=vnni,
        bench_seconds=61.0,
    )
    return [one["figure"] for one in found if not one["met"]]


def test_each_figure_has_a_limit_of_its_own(targets: Any) -> None:
    assert missed(targets) == ["bench: seconds"]
    assert missed(targets, size=310)[0] == "tiny: size int8 / fp32"
    assert missed(targets, lost=0.003)[0] == "tiny: top-1 lost by int8"
    assert missed(targets, left=["/conv"])[0] == "tiny: layers left in float"
    assert missed(targets, seconds=61.0)[0] == "tiny: seconds to export"


def test_the_latency_target_depends_on_the_processor(targets: Any) -> None:
    assert missed(targets, ratio=0.5)[0] == "tiny: latency int8 / fp32"
    assert missed(targets, ratio=0.5, vnni=False) == ["bench: seconds"]


def test_the_bench_target_is_about_small_teachers(targets: Any) -> None:
    assert missed(targets, macs=1.3e9) == []
