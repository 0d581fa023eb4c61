from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress import runtime
from compress.config.bench import BenchConfig
from compress.config.specs import Reference
from compress.errors import MachineError
from compress.measure.golden import Golden, save_golden
from compress.measure.latency import Timing, usable_cores
from compress.measure.process import Job, Measurement, ProcessResult, Sample
from compress.measure.roofline import Peaks
from compress.progress import Silent
from compress.stages import bench_times
from compress.stages.bench_rows import Row, collect
from compress.stages.bench_times import RULER, Timed, narrow, time_rows, times, timing_notes
from tests.tiny_models import coloured_images, write_classifier, write_export


class Noted(Exception):  # noqa: N818 - ends a test's measurement
    """What was to be seen was seen."""


PEAKS = Peaks(fp32=1e9, int8=4e9, bandwidth={2**18: 1e9, 2**21: 1e9, 2**25: 1e9})


def rows(place: Path) -> dict[str, Row]:
    return {row.label: row for row in collect([Reference(target=str(place))])[0]}


def result(milliseconds: dict[str, float], *, calls: int = 4, rounds: int = 10) -> ProcessResult:
    return ProcessResult(
        {
            name: Sample(7.0, 3.0, Timing(name, np.full((rounds, calls), round(m * 1e6))))
            for name, m in milliseconds.items()
        },
        0,
        0,
    )


def timed(found: dict[str, Row], *results: ProcessResult, **more: Any) -> Timed:
    return Timed(Measurement(list(results)), list(found.values()), {}, **more)


@pytest.mark.parametrize("provider", [runtime.CPU, "CUDAExecutionProvider"])
def test_peaks_are_those_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    """The graph of the int8 peak is none that every provider can run."""
    timed_jobs: list[str] = []

    def noted(jobs: list[Job], **_: object) -> Measurement:
        timed_jobs.extend(job.name for job in jobs)
        raise Noted

    monkeypatch.setattr(bench_times, "measure", noted)
    config = BenchConfig(targets=("x",), provider=provider)
    with pytest.raises(Noted):
        time_rows(
            list(rows(write_export(tmp_path)).values()),
            config,
            images={},
            peaks=True,
            memory=False,
            progress=Silent(),
        )
    assert any(name.startswith("peak:") for name in timed_jobs) == (provider == runtime.CPU)


def test_a_rows_times_and_ratios(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path))
    one = result({"big fp32": 8.0, "small fp32": 2.0, "small int8": 1.0, RULER: 0.5})
    seen = timed(found, *[one] * 5, peaks=PEAKS, peak_memory={"small int8": 1 << 20})
    fields = times(
        found["small int8"], seen,
        teacher=found["big fp32"], fp32=found["small fp32"], baseline=None,
    )  # fmt: skip
    assert fields["p10_ms"] == fields["p50_ms"] == fields["p99_ms"] == pytest.approx(1.0)
    assert (fields["samples"], fields["processes"]) == (200, 5)
    assert fields["speedup"] == pytest.approx(8.0)
    assert fields["teacher_ratio"].value == pytest.approx(1 / 8)
    assert fields["teacher_ratio"].to == "big fp32"
    assert fields["fp32_ratio"].value == pytest.approx(0.5)
    assert fields["ruler_ratio"].value == pytest.approx(2.0)
    assert "baseline_ratio" not in fields
    assert fields["images_per_second"] == pytest.approx(1000)
    assert (fields["load_ms"], fields["first_inference_ms"]) == (7.0, 3.0)
    assert fields["peak_memory_bytes"] == 1 << 20
    assert not fields["unstable"]
    # the tiny models move 36 + 65,536 bytes at 1 GB/s, and compute next to nothing
    assert fields["limit_ms"] == pytest.approx(0.065572)
    assert fields["limit_ratio"] == pytest.approx(1 / 0.065572)


def test_fewer_than_thirty_samples_have_no_percentiles_and_are_said_to_be_few(
    tmp_path: Path,
) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx"))
    seen = timed(found, result({"tiny fp32": 1, RULER: 1}, calls=1, rounds=29))
    fields = times(found["tiny fp32"], seen, teacher=None, fp32=None, baseline=None)
    assert fields["p50_ms"] == pytest.approx(1)
    assert fields["unstable"]
    assert "p90_ms" not in fields
    assert "only 29 calls in the time given" in timing_notes(seen)[0]


def test_an_unstable_row_is_said_with_its_variation(tmp_path: Path) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx"))
    wild = np.array([[1_000_000] * 4, [2_000_000] * 4] * 10)
    samples = {name: Sample(1, 1, Timing(name, wild)) for name in ("tiny fp32", RULER)}
    seen = timed(found, ProcessResult(samples, 0, 0))
    fields = times(found["tiny fp32"], seen, teacher=None, fp32=None, baseline=None)
    assert fields["unstable"]
    assert fields["variation"] == pytest.approx(1 / 3)
    assert "coefficient of variation 33%" in timing_notes(seen)[0]


def test_ratios_are_narrow_when_processes_agree(tmp_path: Path) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx"))

    def seen(*values: float) -> Timed:
        return timed(found, *[result({"tiny fp32": value, RULER: 1.0}) for value in values])

    assert narrow(seen(1.0, 1.001, 0.999, 1.0, 1.001))
    assert not narrow(seen(1.0, 1.1, 0.9, 1.0, 1.1))


def test_int8_for_another_cpu_is_not_timed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "saturates", lambda: True)
    write_classifier(tmp_path / "m.onnx", precision="int8", target="vnni")
    found = rows(tmp_path / "m.onnx")
    config = BenchConfig(targets=(), student=("small_cnn",), max_seconds=0.1)
    seen = time_rows(
        list(found.values()), config, images={}, peaks=False, memory=False, progress=Silent()
    )
    fields = times(found["tiny int8"], seen, teacher=None, fp32=None, baseline=None)
    assert fields == {"not_timed": "made for vnni, whose arithmetic this CPU lacks"}
    assert timing_notes(seen) == [
        "tiny int8: latency not measured here: made for vnni, whose arithmetic this CPU lacks"
    ]


def test_more_threads_than_cores_are_refused(tmp_path: Path) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx"))
    config = BenchConfig(targets=("x",), threads=len(usable_cores()) + 1)
    with pytest.raises(MachineError, match="--threads"):
        time_rows(
            list(found.values()), config, images={}, peaks=False, memory=False, progress=Silent()
        )


def test_models_are_timed_with_real_images_else_golden_ones_else_drawn_ones(
    tmp_path: Path,
) -> None:
    found = rows(write_export(tmp_path / "e"))
    row = found["small fp32"]
    images = coloured_images([0, 1, 2] * 40)
    inputs = bench_times._inputs(row, images)
    assert inputs is not None
    assert inputs.shape == (bench_times.INPUTS, 8, 8, 3)
    assert (inputs[0] == images.images[0]).all()
    assert bench_times._inputs(row, None) is None

    golden = np.full((2, 8, 8, 3), 9, dtype=np.uint8)
    place = row.path.parent / "golden.npz"
    save_golden(
        place, Golden(golden, np.zeros(2, dtype=np.int64), {"fp32": {"logits": golden[:, 0, 0]}})
    )
    row = rows(tmp_path / "e")["small fp32"]
    kept = bench_times._inputs(row, None)
    assert kept is not None
    assert (kept == golden).all()


def test_float_models_get_normalised_images(tmp_path: Path) -> None:
    found = rows(write_classifier(tmp_path / "m.onnx", layout="float-nchw"))
    inputs = bench_times._inputs(found["tiny fp32"], coloured_images([0]))
    assert inputs is not None
    assert inputs.shape == (1, 3, 8, 8)
    assert inputs.dtype == np.float32
    assert 0 < inputs.max() <= 1


def test_models_of_other_channels_are_timed_with_inputs_of_their_own(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path))["small fp32"]
    grey = replace(found, name="grey", card=found.card.model_copy(update={"channels": 1}))
    jobs = bench_times._jobs([found, grey], {8: coloured_images([0, 1, 2])}, tmp_path)
    assert jobs[0].inputs is not None
    assert jobs[1].inputs is None


def test_everything_is_really_timed(tmp_path: Path) -> None:
    found = rows(write_export(tmp_path))
    config = BenchConfig(targets=("x",), max_seconds=0.5)
    seen = time_rows(
        list(found.values()), config, images={8: coloured_images([0, 1])}, peaks=True,
        memory=True, progress=Silent(),
    )  # fmt: skip
    assert seen.keys == set(found)
    assert set(seen.peak_memory) == set(found)
    assert seen.peaks is not None
    assert seen.peaks.fp32 > 1e8
    big, small = (seen.measurement.percentile(key, 50).value for key in ("big fp32", "small fp32"))
    assert big > small
