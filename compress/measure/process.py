"""Measures models in fresh processes: what varies from process to process belongs to the figures.

Run as a module it is such a process: a job list in JSON on standard input, the result in JSON on
standard output. It opens every session first (in random order), takes their first inference, then
times them interleaved on cores of its own.
"""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

import compress
from compress.errors import CompressError, InputError, MachineError, UnusableError
from compress.evaluate import has_no_number
from compress.measure.feeds import drawn_feeds
from compress.measure.latency import Subject, Timing, measuring_cores, pin, time_interleaved
from compress.measure.ratios import Estimate, paired_ratio, percentile
from compress.progress import Progress, Silent
from compress.runtime import open_session

PROCESSES = 5
"""Fewest processes that an interval between processes is made of."""

SECONDS = 20.0
"""Time spent on timing unless told; where processes start slowly, longer."""
SHORTEST_SLICE, LONGEST_SLICE = 0.2, 2.0
ERRORS: dict[int, type[CompressError]] = {
    kind.exit_code: kind for kind in (InputError, MachineError, UnusableError)
}


@dataclass(frozen=True)
class Job:
    """A model to measure.

    Attributes:
        name: Unique among the jobs of one measurement.
        model: Path of the ONNX file.
        inputs: Path of an .npy file (samples, …) of whole inputs as the model takes them, without
            their batch dimension of 1; None draws an input of `shape`.
        shape: Shape of a drawn input, for models that leave dimensions open.
        unsaturated: Run U8S8 products without saturation.
    """

    name: str
    model: str
    inputs: str | None = None
    shape: tuple[int, ...] | None = None
    unsaturated: bool = False


@dataclass(frozen=True)
class Sample:
    """What one process saw of one job.

    Attributes:
        load_ms: Opening the session.
        first_ms: Its first inference.
        timing: The timed calls; None where none were asked for.
    """

    load_ms: float
    first_ms: float
    timing: Timing | None


@dataclass(frozen=True)
class ProcessResult:
    """What one process saw.

    Attributes:
        samples: By job name.
        imports_bytes: Peak memory before any model was opened.
        peak_bytes: Peak memory at the end.
    """

    samples: dict[str, Sample]
    imports_bytes: int
    peak_bytes: int


@dataclass
class Measurement:
    """The same jobs seen in several processes, oldest first."""

    results: list[ProcessResult] = field(default_factory=list)

    @property
    def processes(self) -> int:
        """How many processes measured."""
        return len(self.results)

    def timings(self, name: str) -> list[Timing]:
        """A job's timings, one per process."""
        return [
            sample.timing
            for result in self.results
            if (sample := result.samples[name]).timing is not None
        ]

    def samples(self, name: str) -> int:
        """How many calls of a job were timed."""
        return sum(timing.rounds.size for timing in self.timings(name))

    def percentile(self, name: str, percent: float) -> Estimate:
        """A percentile of a job's calls, in milliseconds."""
        return percentile(self.timings(name), percent)

    def ratio(self, numerator: str, denominator: str) -> Estimate:
        """How many times longer one job takes than another, paired."""
        return paired_ratio(self.timings(numerator), self.timings(denominator))

    def variation(self, name: str) -> float:
        """Coefficient of variation of a job's bursts, the median over processes."""
        return median(timing.variation for timing in self.timings(name))

    def load_ms(self, name: str) -> float:
        """Opening a job's session, the median over processes."""
        return median(result.samples[name].load_ms for result in self.results)

    def first_ms(self, name: str) -> float:
        """A job's first inference, the median over processes."""
        return median(result.samples[name].first_ms for result in self.results)


def measure(
    jobs: Sequence[Job],
    *,
    threads: int,
    provider: str,
    max_seconds: float | None,
    enough: Callable[[Measurement], bool],
    seed: int = 0,
    progress: Progress | None = None,
) -> Measurement:
    """Measure jobs in one fresh process after another.

    Args:
        jobs: What to measure; every process times them all, interleaved.
        threads: Of each session.
        provider: Execution provider of each session.
        max_seconds: When to stop; at least one process runs. None is SECONDS, or as long as
            PROCESSES take.
        enough: Asked after every process from PROCESSES on whether to stop.
        seed: Draws the orders.
        progress: Told about the time that passes.

    Raises:
        InputError: A model cannot be read.
        MachineError: The machine lacks the provider, or memory.
        UnusableError: A model gave something that is not a number.
    """
    progress = progress or Silent()
    measurement = Measurement()
    begin = shown = time.monotonic()
    longest = SECONDS if max_seconds is None else max_seconds
    part, timed, spent = _clamped(longest / 12), 0.0, 0.0
    progress.start("latency", total=max(1, round(longest)), unit="s")
    while True:
        left = longest if max_seconds is None else longest - spent
        measurement.results.append(
            run_process(
                jobs,
                threads=threads,
                provider=provider,
                seconds=part,
                longest_seconds=max(left, part),
                seed=seed * 1000 + measurement.processes,
            )
        )
        spent = time.monotonic() - begin
        progress.advance(round(spent) - round(shown - begin))
        shown = begin + spent
        if measurement.processes >= PROCESSES and enough(measurement):
            break
        timed += part
        start_up = max(0.0, spent - timed) / measurement.processes
        missing = PROCESSES - measurement.processes
        if missing > 0 and max_seconds is None:
            continue
        if missing > 0:  # a busy machine starts processes slowly: shorter slices keep them five
            part = min(part, _clamped((longest - spent) / missing - start_up))
        if spent + start_up + part > longest + 1e-6:
            break
    progress.finish(f"latency: {measurement.processes} processes, {spent:.0f} s")
    return measurement


def _clamped(seconds: float) -> float:
    """A slice of the time within its bounds."""
    return min(LONGEST_SLICE, max(SHORTEST_SLICE, seconds))


def run_process(
    jobs: Sequence[Job],
    *,
    threads: int,
    provider: str,
    seconds: float | None,
    longest_seconds: float = float("inf"),
    seed: int = 0,
) -> ProcessResult:
    """Measure jobs in one fresh process, pinned to `measuring_cores`.

    Args:
        jobs: What to measure.
        threads: Of each session, and cores to pin to.
        provider: Execution provider.
        seconds: How long to time; None only opens the sessions and runs each a few times.
        longest_seconds: When to stop timing in any case.
        seed: Draws the orders.

    Raises:
        InputError: A model cannot be read.
        MachineError: The machine lacks the provider, or memory.
        UnusableError: A model gave something that is not a number.
    """
    order = {
        "jobs": [asdict(job) for job in jobs],
        "threads": threads,
        "provider": provider,
        "seconds": seconds,
        "longest_seconds": min(longest_seconds, 1e9),
        "seed": seed,
        "cores": measuring_cores(threads),
    }
    package = str(Path(compress.__file__).resolve().parent.parent)
    paths = [package, os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        # -P: a folder called compress where the user stands must not be imported instead.
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps(order),
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        env=environment,
        check=False,
    )
    if done.returncode < 0:
        raise MachineError(
            f"the measuring process was killed by {signal.Signals(-done.returncode).name}",
            hint="often too little memory: bench fewer models at once",
        )
    if done.returncode != 0:
        raise RuntimeError(f"the measuring process failed: {done.stderr.strip()[-2000:]}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise ERRORS[answer["code"]](answer["error"], hint=answer["hint"])
    samples = {
        name: Sample(
            load_ms=sample["load_ms"],
            first_ms=sample["first_ms"],
            timing=None
            if sample["rounds"] is None
            else Timing(name, np.asarray(sample["rounds"], dtype=np.int64)),
        )
        for name, sample in answer["samples"].items()
    }
    return ProcessResult(samples, answer["imports_bytes"], answer["peak_bytes"])


def peak_memory_bytes() -> int:
    """The most memory this process has held at once.

    Linux's own figure of this program image: `ru_maxrss` also remembers the process that started
    it, which may hold a whole data set.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _first_inference(job: Job, session: Any) -> tuple[list[dict[str, NDArray[Any]]], float]:
    """A job's inputs, and how long its first inference takes in milliseconds."""
    if job.inputs is None:
        feeds = drawn_feeds(session, source=job.model, shape=job.shape)
    else:
        name = session.get_inputs()[0].name
        feeds = [{name: sample[None]} for sample in np.load(job.inputs)]
    start = time.perf_counter_ns()
    try:
        outputs = session.run(None, feeds[0])
    # onnxruntime raises its own pybind exceptions, RuntimeError at the root
    except Exception as error:
        raise InputError(f"{job.model} does not run: {str(error).splitlines()[0]}") from error
    took = (time.perf_counter_ns() - start) / 1e6
    for output in outputs:
        if has_no_number(output):
            raise UnusableError(f"{job.model} answers with NaN or infinity")
    return feeds, took


def _subject(job: Job, session: Any, feeds: list[dict[str, NDArray[Any]]]) -> Subject:
    count, run = len(feeds), session.run
    return Subject(job.name, lambda index: run(None, feeds[index % count]))


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    """Do what a parent asked for."""
    pin(order["cores"])
    jobs = [Job(**job) for job in order["jobs"]]
    imports_bytes = peak_memory_bytes()
    shuffled = list(jobs)
    random.Random(order["seed"]).shuffle(shuffled)
    samples: dict[str, dict[str, Any]] = {}
    sessions = {}
    for job in shuffled:
        start = time.perf_counter_ns()
        sessions[job.name] = open_session(
            Path(job.model),
            threads=order["threads"],
            provider=order["provider"],
            unsaturated=job.unsaturated,
            # threads of one session that wait busily would take the cores from the next one
            spinning=order["threads"] == 1,
        )
        load_ms = (time.perf_counter_ns() - start) / 1e6
        samples[job.name] = {"load_ms": load_ms, "rounds": None}
    subjects = []
    for job in jobs:
        feeds, samples[job.name]["first_ms"] = _first_inference(job, sessions[job.name])
        subjects.append(_subject(job, sessions[job.name], feeds))
    if order["seconds"] is None:
        for subject in subjects:
            subject.call(1)
    else:
        timings = time_interleaved(
            subjects,
            seconds=order["seconds"],
            longest_seconds=order["longest_seconds"],
            seed=order["seed"],
        )
        for timing in timings:
            samples[timing.name]["rounds"] = timing.rounds.tolist()
    return {
        "samples": samples,
        "imports_bytes": imports_bytes,
        "peak_bytes": peak_memory_bytes(),
    }


def main() -> None:
    """Answer one order; failures that are the user's travel back as JSON."""
    order = json.load(sys.stdin)
    try:
        answer = _answer(order)
    except CompressError as error:
        answer = {"error": error.message, "hint": error.hint, "code": error.exit_code}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
