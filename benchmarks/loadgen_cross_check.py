"""Compare our latency loop with MLPerf LoadGen's SingleStream on the same session.

    python benchmarks/loadgen_cross_check.py [MODEL.onnx …] [--repeats 5] [--seconds 4]

Needs `pip install mlcommons-loadgen`. For each model one session is opened; our loop and LoadGen
take turns on it, so that slow spells of the machine meet both. Writes
benchmarks/records/loadgen_cross_check.json and ends with 1 where p50 or p90 differ by more than 5%.
Without models, the ruler that ships with the package is measured. Run it on an idle machine.
"""

import argparse
import gc
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from compress.environment import read_environment, version_of
from compress.files import sha256_file, write_text
from compress.measure.feeds import drawn_feeds
from compress.measure.latency import Subject, measuring_cores, pin, time_interleaved
from compress.measure.roofline import RULER
from compress.runtime import open_session

RECORD = Path(__file__).resolve().parent / "records" / "loadgen_cross_check.json"
ALLOWED = 0.05
PERCENTILES = (50, 90)
EVERYWHERE = os.sched_getaffinity(0)


def ours(call: Callable[[int], object], seconds: float, seed: int) -> dict[int, float]:
    """Percentiles of our loop, in milliseconds."""
    (timing,) = time_interleaved([Subject("model", call)], seconds=seconds, seed=seed)
    return {p: float(np.percentile(timing.calls_ms, p)) for p in PERCENTILES}


def theirs(call: Callable[[int], object], seconds: float) -> dict[int, float]:
    """Percentiles of LoadGen's SingleStream, in milliseconds.

    Only the thread that asks is pinned: LoadGen's own, which writes its log, may go elsewhere.
    """
    import mlperf_loadgen as loadgen

    core = os.sched_getaffinity(0)
    os.sched_setaffinity(0, EVERYWHERE)
    gc.disable()
    pinned = False

    def issue(samples: Any) -> None:
        nonlocal pinned
        if not pinned:
            os.sched_setaffinity(0, core)  # of this thread; LoadGen's have begun
            pinned = True
        for sample in samples:
            call(sample.index)
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, 0, 0)])

    def nothing(*_: object) -> None:
        pass

    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.SingleStream
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = settings.max_duration_ms = round(seconds * 1000)
    settings.min_query_count = 100
    with tempfile.TemporaryDirectory() as folder:
        logs = loadgen.LogSettings()
        logs.log_output.outdir = folder
        logs.log_output.copy_summary_to_stdout = False
        logs.enable_trace = False
        system = loadgen.ConstructSUT(issue, nothing)
        library = loadgen.ConstructQSL(64, 64, nothing, nothing)
        loadgen.StartTestWithLogSettings(system, library, settings, logs)
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
        gc.enable()
        os.sched_setaffinity(0, core)
        summary = (Path(folder) / "mlperf_log_summary.txt").read_text(encoding="utf-8")
    found = dict(re.findall(r"^(\d+)\.00 percentile latency \(ns\)\s*:\s*(\d+)", summary, re.M))
    return {p: int(found[str(p)]) / 1e6 for p in PERCENTILES}


def compare(model: Path, *, repeats: int, seconds: float) -> dict[str, Any]:
    """Both loops on one session, taking turns; the medians over repeats and their ratios."""
    session = open_session(model)
    feeds = drawn_feeds(session, source=str(model))
    run, count = session.run, len(feeds)

    def call(index: int) -> object:
        return run(None, feeds[index % count])

    seen: dict[str, list[dict[int, float]]] = {"ours": [], "loadgen": []}
    for repeat in range(repeats):
        seen["ours"].append(ours(call, seconds, repeat))
        seen["loadgen"].append(theirs(call, seconds))
    result: dict[str, Any] = {
        "model": shown(model),
        "sha256": sha256_file(model),
        "repeats": repeats,
    }
    for percent in PERCENTILES:
        mine, other = (median(each[percent] for each in seen[who]) for who in ("ours", "loadgen"))
        result[f"p{percent}"] = {
            "ours_ms": mine,
            "loadgen_ms": other,
            "ratio": mine / other,
            "ours_all_ms": [each[percent] for each in seen["ours"]],
            "loadgen_all_ms": [each[percent] for each in seen["loadgen"]],
        }
    return result


def shown(model: Path) -> str:
    """A model file without the place of this machine it lies in: its folder and name."""
    return model.name if model == RULER else "/".join(model.resolve().parts[-2:])


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare our latency loop with MLPerf LoadGen's.")
    parser.add_argument("models", nargs="*", type=Path, default=[], metavar="MODEL.onnx")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--out", type=Path, default=RECORD)
    options = parser.parse_args()
    if version_of("mlcommons-loadgen") is None:
        print(
            "error: LoadGen is not installed\nhint: pip install mlcommons-loadgen", file=sys.stderr
        )
        return 4
    pin(measuring_cores(1))
    asked: list[Path] = options.models
    results = [
        compare(model, repeats=options.repeats, seconds=options.seconds)
        for model in asked or [RULER]
    ]
    worst = max(abs(each[f"p{p}"]["ratio"] - 1) for each in results for p in PERCENTILES)
    record = {
        "schema": 1,
        "command": " ".join(["python benchmarks/loadgen_cross_check.py", *map(shown, asked)]),
        "loadgen": version_of("mlcommons-loadgen"),
        "seconds": options.seconds,
        "allowed_difference": ALLOWED,
        "worst_difference": worst,
        "models": results,
        "environment": read_environment().model_dump(mode="json"),
    }
    write_text(options.out, json.dumps(record, indent=2) + "\n")
    for each in results:
        for percent in PERCENTILES:
            row = each[f"p{percent}"]
            print(
                f"{each['model']:32} p{percent}  ours {row['ours_ms']:.4f} ms  "
                f"LoadGen {row['loadgen_ms']:.4f} ms  ratio {row['ratio']:.3f}"
            )
    print(f"largest difference {worst:.1%}, allowed {ALLOWED:.0%}; written to {options.out}")
    return 0 if worst <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
