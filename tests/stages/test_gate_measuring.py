"""How long a gate measures, and what beside each other, seen through invented processes."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.config.gate import GateConfig
from compress.measure import process
from compress.measure.latency import Timing
from compress.measure.process import Job, ProcessResult, Sample
from compress.records.gate import GateRecord
from compress.stages import bench_times
from compress.stages.gate import gate
from tests.conftest import RunCli
from tests.tiny_models import coloured_images, write_classifier, write_export, write_folder

STEADY = ("baseline:", "ruler", "peak:")
START_UP = 0.5


class FakeChildren:
    """Processes in which the judged models take some times as long as all others.

    Attributes:
        factor: How many times, by the number of the process from 0.
        jobs: Names of what each process was given, and whether with inputs.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, factor: Callable[[int], float]) -> None:
        self.factor = factor
        self.jobs: list[list[tuple[str, bool]]] = []
        self._now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self._now)
        monkeypatch.setattr(process, "run_process", self.run)
        monkeypatch.setattr(bench_times, "run_process", self.run)

    def run(self, jobs: list[Job], **options: Any) -> ProcessResult:
        """Take the slice that was asked for, and a start."""
        timed = options["seconds"] is not None
        self._now += START_UP + (options["seconds"] or 0)
        factor = self.factor(len(self.jobs)) if timed else 1.0
        if timed:
            self.jobs.append([(job.name, job.inputs is not None) for job in jobs])
        samples = {}
        for job in jobs:
            took = round(1e6 * (1.0 if job.name.startswith(STEADY) else factor))
            timing = Timing(job.name, np.full((10, 4), took)) if timed else None
            samples[job.name] = Sample(1.0, 1.0, timing)
        return ProcessResult(samples, 1, 2)


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, str]:
    """A model and what it is compared with."""
    for name in ("now", "before"):
        write_classifier(tmp_path / name / "model.onnx", name="small")
    return {"target": str(tmp_path / "now"), "baseline": str(tmp_path / "before")}


def judge(pair: dict[str, str], **options: Any) -> GateRecord:
    given = {**pair, "max_latency_regression": 0.05, "max_seconds": 60, **options}
    return gate(GateConfig.model_validate(given))


def test_an_open_question_is_measured_until_it_is_answered(
    monkeypatch: pytest.MonkeyPatch, pair: dict[str, str]
) -> None:
    first = (1.00, 1.06, 1.01, 1.05, 1.02)  # a mean of 1.028 that five processes know to 0.05
    children = FakeChildren(monkeypatch, lambda n: first[n] if n < 5 else 1.02)
    found = judge(pair)
    (check,) = found.checks
    assert (check.outcome, found.exit_code) == ("pass", 0)
    assert check.value is not None
    assert check.low is not None
    assert check.low < check.value < (check.high or 0) <= 1.05
    assert 5 < found.bench.processes == len(children.jobs) < 24
    assert found.bench.models[0].baseline_ratio is not None


def test_what_is_still_open_at_the_end_is_inconclusive(
    monkeypatch: pytest.MonkeyPatch, pair: dict[str, str]
) -> None:
    children = FakeChildren(monkeypatch, lambda n: (1.0, 1.1)[n % 2])
    found = judge(pair)
    (check,) = found.checks
    assert (check.outcome, found.exit_code) == ("inconclusive", 6)
    assert check.value == pytest.approx(1.1**0.5, rel=1e-4)  # the geometric mean
    assert check.reason.endswith("; the interval holds the limit")
    # slices of 2 s after starts of 0.5 s fill the minute
    assert found.bench.processes == len(children.jobs) == 24


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.2, 1)])
def test_a_clear_answer_takes_five_processes(
    monkeypatch: pytest.MonkeyPatch, pair: dict[str, str], factor: float, code: int
) -> None:
    children = FakeChildren(monkeypatch, lambda n: factor * (1 + 0.001 * (n % 2)))
    found = judge(pair)
    assert (found.exit_code, len(children.jobs)) == (code, 5)


def test_too_little_time_is_inconclusive_and_says_what_to_raise(
    monkeypatch: pytest.MonkeyPatch, pair: dict[str, str]
) -> None:
    FakeChildren(monkeypatch, lambda _: 1.0)
    found = judge(pair, max_seconds=1.5)
    assert found.exit_code == 6
    assert "5 are needed: raise --max-seconds" in found.checks[0].reason


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.2, 1)])
def test_a_bench_with_images_is_a_baseline_for_times_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, invoke: RunCli, factor: float, code: int
) -> None:
    write_export(tmp_path / "export")
    write_folder(tmp_path / "images", coloured_images([0, 1, 2] * 10))
    monkeypatch.chdir(tmp_path)
    children = FakeChildren(monkeypatch, lambda n: 1 + 0.001 * (n % 2))
    finished = invoke("bench", "export", "--data", "images", "--json", "bench.json")
    assert finished.code == 0, finished.stderr
    benched = children.jobs[0]
    assert ("peak:fp32", False) in benched
    assert ("small int8", True) in benched

    children = FakeChildren(monkeypatch, lambda n: factor * (1 + 0.001 * (n % 2)))
    arguments = ("gate", "export", "--baseline", "bench.json", "--max-latency-regression", 0.05)
    finished = invoke(*arguments, "--data", "images", "--precision", "int8", "--json", "-")
    assert finished.code == code, finished.stdout
    (check,) = json.loads(finished.stdout)["checks"]
    assert check["row"] == "small int8"
    assert check["value"] == pytest.approx(factor, rel=0.01)
    # the same models and peaks beside each other, with the same kind of inputs
    assert children.jobs[0] == benched

    finished = invoke(*arguments)
    assert finished.code == 6
    assert "other data (images, this is none): name the same with --data" in " ".join(
        finished.stdout.split()
    )
