"""Export a run, bench it, and compare what came out with the targets of this project.

    python benchmarks/artifact_targets.py RUN [--student LABEL …] [--name NAME]

The run's data must be found (--data-dir once, or $COMPRESS_DATA). Every student is exported as fp32
and INT8 with all checks, then measured beside its teacher on all test images: what INT8 loses, its
latency and size by those of fp32, layers left in float, and how long both commands take. Writes
benchmarks/records/artifact_targets-NAME.json and ends with 1 where a target is missed. Run it on an
idle machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from compress.environment import read_environment
from compress.files import write_text

RECORDS = Path(__file__).resolve().parent / "records"
VNNI = ("avx512_vnni", "avx_vnni")
MOST_LOST = {"mobilenet_v2": 0.005, "small_cnn": 0.002}
"""Top-1 that INT8 may lose by architecture, a fraction."""
SLOWEST = {("mobilenet_v2", True): 0.8, ("mobilenet_v2", False): 0.8}
SLOWEST |= {("small_cnn", True): 0.45, ("small_cnn", False): 0.62}
"""Latency of INT8 by that of fp32, by architecture and whether the CPU has VNNI."""
LARGEST = 0.3
EXPORT_SECONDS = 60.0
BENCH_SECONDS = 60.0
BENCH_MACS = 130e6
"""The bench target is about teachers up to this size, and two students."""


def compress(*arguments: object) -> tuple[Any, float]:
    """Run the installed command: its JSON, and the seconds it took.

    Raises:
        SystemExit: It failed; its own words are on stderr.
    """
    begin = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", "compress", *map(str, arguments), "--json", "-"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise SystemExit(ended.returncode)
    return json.loads(ended.stdout), time.perf_counter() - begin


def _at_most(what: str, value: float, limit: float | None) -> dict[str, Any]:
    """One figure beside its target; none is set for some models."""
    return {"figure": what, "value": value, "limit": limit, "met": limit is None or value <= limit}


def judged(export: Any, bench: Any, *, vnni: bool, bench_seconds: float) -> Iterator[Any]:
    """Every figure that has a target.

    Args:
        export: JSON of `compress export`.
        bench: JSON of `compress bench`.
        vnni: Whether this CPU multiplies 8-bit integers in one instruction.
        bench_seconds: What the bench took.
    """
    rows = {(row["name"], row["precision"]): row for row in bench["models"]}
    for artifact in export["artifacts"]:
        manifest = artifact["manifest"]
        label, family = manifest["label"], manifest["card"]["architecture"]
        fp32, int8 = rows[label, "fp32"], rows[label, "int8"]
        left = manifest["quantization"]["float_layers"]
        lost = int8["fp32_difference"]["top1_drop"]
        yield _at_most(f"{label}: top-1 lost by int8", lost, MOST_LOST.get(family))
        ratio = int8["fp32_ratio"]["value"]
        yield _at_most(f"{label}: latency int8 / fp32", ratio, SLOWEST.get((family, vnni)))
        size = int8["size_bytes"] / fp32["size_bytes"]
        yield _at_most(f"{label}: size int8 / fp32", size, LARGEST)
        yield _at_most(f"{label}: layers left in float", len(left), 0)
        if manifest["role"] != "teacher":
            yield _at_most(f"{label}: seconds to export", artifact["seconds"], EXPORT_SECONDS)
    teacher = max((row["macs"] or 0) for row in bench["models"])
    limit = BENCH_SECONDS if teacher <= BENCH_MACS else None
    yield _at_most("bench: seconds", bench_seconds, limit)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", help="a complete run of `compress distill`")
    parser.add_argument("--student", action="append", default=[], help="what to export; all")
    parser.add_argument("--name", help="of the record; the run's")
    asked = parser.parse_args(arguments)
    environment = read_environment()
    vnni = any(flag in environment.instruction_sets for flag in VNNI)
    chosen = [word for label in asked.student for word in ("--student", label)]
    with tempfile.TemporaryDirectory(prefix="targets-") as folder:
        export, _ = compress("export", asked.run, *chosen, "--out", folder)
        bench, seconds = compress("bench", folder)
    figures = list(judged(export, bench, vnni=vnni, bench_seconds=seconds))
    name = asked.name or Path(asked.run).name
    out = RECORDS / f"artifact_targets-{name}.json"
    record = {
        "schema": 1,
        "command": "python benchmarks/artifact_targets.py "
        + " ".join(sys.argv[1:] if arguments is None else arguments),
        "vnni": vnni,
        "figures": figures,
        "bench": bench,
        "environment": environment.model_dump(mode="json"),
    }
    write_text(out, json.dumps(record, indent=2) + "\n")
    for one in figures:
        limit = "" if one["limit"] is None else f"at most {one['limit']:g}"
        verdict = "" if one["limit"] is None else "met" if one["met"] else "MISSED"
        print(f"{one['figure']:44} {one['value']:9.4f}  {limit:14} {verdict}")
    print(f"written to {out}")
    return 0 if all(one["met"] for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
