import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.errors import InputError, MachineError, UnusableError
from compress.measure import process
from compress.measure.latency import Timing, usable_cores
from compress.measure.process import (
    PROCESSES,
    SECONDS,
    Job,
    Measurement,
    ProcessResult,
    Sample,
    measure,
    peak_memory_bytes,
    run_process,
)
from compress.measure.roofline import RULER
from compress.runtime import CPU, open_session
from tests.tiny_models import write_classifier, write_more

MIB = 1024**2


def once(*jobs: Job, seconds: float | None = None, threads: int = 1) -> ProcessResult:
    return run_process(jobs, threads=threads, provider=CPU, seconds=seconds)


def test_a_fresh_process_reports_load_first_inference_and_memory() -> None:
    result = once(Job("ruler", str(RULER)))
    sample = result.samples["ruler"]
    assert sample.load_ms > 0
    assert sample.first_ms > 0
    assert sample.timing is None
    assert 20 * MIB < result.imports_bytes <= result.peak_bytes < 1024 * MIB


def test_memory_is_that_of_the_fresh_process_not_of_the_one_that_asks() -> None:
    ballast = np.ones(400 * MIB // 8)
    result = once(Job("ruler", str(RULER)))
    assert ballast.nbytes > result.peak_bytes
    assert peak_memory_bytes() > ballast.nbytes


def test_jobs_are_timed_beside_each_other(tmp_path: Path) -> None:
    slow = write_classifier(tmp_path / "slow.onnx", work=40)
    result = once(Job("ruler", str(RULER)), Job("slow", str(slow)), seconds=0.2)
    ruler, other = result.samples["ruler"].timing, result.samples["slow"].timing
    assert ruler is not None
    assert other is not None
    assert len(ruler.rounds) == len(other.rounds) >= 10


def test_the_inputs_given_are_the_inputs_seen(tmp_path: Path) -> None:
    # this model answers NaN exactly for images without blue: the first of these
    model = write_classifier(tmp_path / "m.onnx", nan=True)
    pixels = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    pixels[1] = 9
    np.save(tmp_path / "good.npy", pixels[1:])
    np.save(tmp_path / "bad.npy", pixels)
    once(Job("m", str(model), inputs=str(tmp_path / "good.npy")))
    with pytest.raises(UnusableError, match="answers with NaN"):
        once(Job("m", str(model), inputs=str(tmp_path / "bad.npy")))


@pytest.mark.parametrize("outputs", [("label", "logits"), ("loss",), ("logits", "loss", "label")])
def test_what_else_models_answer_is_no_hindrance(tmp_path: Path, outputs: tuple[str, ...]) -> None:
    model = write_more(write_classifier(tmp_path / "m.onnx", card=False), *outputs)
    assert once(Job("m", str(model))).samples["m"].first_ms > 0


def test_failures_of_the_child_keep_their_kind_and_hint(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(RULER.read_bytes()[:500])
    with pytest.raises(InputError, match=r"cannot open|no ONNX") as error:
        once(Job("broken", str(broken)))
    assert error.value.hint
    with pytest.raises(MachineError, match="NoSuchProvider"):
        run_process([Job("a", str(RULER))], threads=1, provider="NoSuchProvider", seconds=None)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_child_works_on_as_many_cores_as_it_has_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order = {"cores": usable_cores()[-1:], "jobs": [], "seed": 0, "threads": 1}
    before = os.sched_getaffinity(0)
    try:
        process._answer({**order, "provider": CPU, "seconds": None})
        assert os.sched_getaffinity(0) == set(usable_cores()[-1:])
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("threads", "spinning"), [(1, True), (2, False)])
def test_threads_that_share_cores_do_not_wait_busily(
    threads: int, spinning: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def watch(model: Path, **options: Any) -> object:
        asked.append(options["spinning"])
        return open_session(model, **options)

    monkeypatch.setattr(process, "open_session", watch)
    job = {"name": "a", "model": str(RULER)}
    order = {"cores": (), "jobs": [job], "seed": 0, "threads": threads}
    process._answer({**order, "provider": CPU, "seconds": None})
    assert asked == [spinning]


def test_a_folder_called_compress_where_the_user_stands_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compress").mkdir()
    (tmp_path / "compress" / "__init__.py").write_text("raise SystemExit('wrong one')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('wrong one')")
    monkeypatch.chdir(tmp_path)
    assert once(Job("ruler", str(RULER))).peak_bytes > 0


def test_a_killed_child_is_said_to_be_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nkill -{signal.SIGKILL.value} $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(MachineError, match="killed by SIGKILL"):
        once(Job("ruler", str(RULER)))


def test_a_crash_of_the_child_is_a_bug_and_shows_its_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no such thing >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(RuntimeError, match="no such thing"):
        once(Job("ruler", str(RULER)))


class FakeChildren:
    """Processes that take their slice and some seconds to start, and see what they are told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, start_up: float = 1.0) -> None:
        self.start_up = start_up
        self.now = 0.0
        self.slices: list[float] = []
        self.seeds: list[int] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(process, "run_process", self.run)

    def run(self, jobs: list[Job], **options: float) -> ProcessResult:
        self.now += self.start_up + options["seconds"]
        self.slices.append(options["seconds"])
        self.seeds.append(int(options["seed"]))
        timing = Timing("a", np.full((10, 2), 1_000_000 + len(self.seeds)))
        return ProcessResult({"a": Sample(5.0 + len(self.seeds), 2.0, timing)}, 1, 2)


def test_measuring_ends_when_it_is_enough_but_not_before_five_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    children = FakeChildren(monkeypatch)
    jobs = [Job("a", "a.onnx")]
    found = measure(jobs, threads=1, provider=CPU, max_seconds=60, enough=lambda _: True)
    assert found.processes == PROCESSES == 5
    assert len(set(children.seeds)) == 5
    assert found.load_ms("a") == 8.0
    assert found.samples("a") == 100


def test_measuring_goes_on_until_it_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeChildren(monkeypatch)
    found = measure(
        [Job("a", "a.onnx")], threads=1, provider=CPU, max_seconds=60,
        enough=lambda seen: seen.processes == 9,
    )  # fmt: skip
    assert found.processes == 9


def test_measuring_never_starts_a_process_that_would_end_too_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    children = FakeChildren(monkeypatch, start_up=0.5)
    options: dict[str, Any] = {"threads": 1, "provider": CPU, "enough": lambda _: False}
    assert measure([Job("a", "a.onnx")], max_seconds=12, **options).processes == 8
    assert children.slices == [1.0] * 8
    assert children.now <= 12
    assert measure([Job("a", "a.onnx")], max_seconds=0.1, **options).processes == 1
    assert children.slices[8:] == [0.2]


def test_slow_starts_shorten_the_slices_so_that_five_processes_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    children = FakeChildren(monkeypatch, start_up=2.0)
    found = measure(
        [Job("a", "a.onnx")], threads=1, provider=CPU, max_seconds=12, enough=lambda _: False
    )
    assert found.processes == 5
    assert children.slices[0] == 1.0
    assert children.slices[1:] == pytest.approx([0.25] * 4)
    assert children.now <= 12


def test_unless_told_measuring_takes_the_time_that_five_processes_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    children = FakeChildren(monkeypatch, start_up=7.0)
    options: dict[str, Any] = {"threads": 1, "provider": CPU, "enough": lambda _: False}
    assert measure([Job("a", "a.onnx")], max_seconds=None, **options).processes == PROCESSES
    assert children.slices == pytest.approx([SECONDS / 12] * PROCESSES)
    assert measure([Job("a", "a.onnx")], max_seconds=SECONDS, **options).processes < PROCESSES


def test_unless_told_measuring_on_a_quick_machine_ends_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    children = FakeChildren(monkeypatch, start_up=0.5)
    options: dict[str, Any] = {"threads": 1, "provider": CPU, "enough": lambda _: False}
    found = measure([Job("a", "a.onnx")], max_seconds=None, **options)
    assert found.processes > PROCESSES
    assert children.now <= SECONDS


def test_a_measurement_pairs_the_processes_of_two_jobs() -> None:
    results = [
        ProcessResult(
            {
                "a": Sample(1, 1, Timing("a", np.full((3, 2), 2_000_000 * k))),
                "b": Sample(1, 1, Timing("b", np.full((3, 2), 1_000_000 * k))),
            },
            0, 0,
        )
        for k in (1, 2, 5)
    ]  # fmt: skip
    ratio = Measurement(results).ratio("a", "b")
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2, 2, 2))
    assert Measurement(results).percentile("a", 50).value == pytest.approx(4.0)
