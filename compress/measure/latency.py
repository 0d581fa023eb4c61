"""Times several models in one process so that their ratios can be trusted on a shared machine.

Everything is interleaved: in each round every model gets one burst of calls, in random order, so
that a slow spell of the machine meets all of them alike. The first call of a burst is not timed,
because it pays for the caches that the model before it has filled.
"""

import gc
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.errors import MachineError

WARM_UPS = 15
WARM_UP_SECONDS = 1.0
"""A model so slow that its warm-ups take longer is warm after fewer, two at least."""

BURST_SECONDS = 0.004
LONGEST_BURST = 32
FEWEST_ROUNDS = 10
CORES = Path("/sys/devices/system/cpu")
ALIKE = 0.9
"""Cores of at least this share of the fastest one's speed are of its kind: some of a kind may run a
few hundred megahertz faster than the others."""
LOW_QUANTILE = 25
"""Per cent. The quartile of a burst is what its ratio is made of: interruptions only ever add time,
and unlike the minimum it hardly depends on how many calls the burst has."""


@dataclass(frozen=True)
class Subject:
    """Something to time.

    Attributes:
        name: Unique among the subjects of one measurement.
        call: Does one inference; gets the number of the call, from 0, to choose its input by.
    """

    name: str
    call: Callable[[int], object]


@dataclass(frozen=True)
class Timing:
    """The timed calls of one subject in one process.

    Attributes:
        name: The subject.
        rounds: int64 (rounds, calls per burst), nanoseconds, in the order they were made.
    """

    name: str
    rounds: NDArray[np.int64]

    @property
    def calls_ms(self) -> NDArray[np.float64]:
        """Every call, float64 (rounds * calls,), in milliseconds."""
        return self.rounds.reshape(-1) / 1e6

    @property
    def low_quantiles_ms(self) -> NDArray[np.float64]:
        """The lower quartile of each burst, float64 (rounds,), in milliseconds."""
        return np.percentile(self.rounds, LOW_QUANTILE, axis=1) / 1e6

    @property
    def variation(self) -> float:
        """Coefficient of variation of the bursts' medians; single spikes do not count."""
        medians = np.median(self.rounds, axis=1)
        return float(medians.std() / medians.mean())


def time_interleaved(
    subjects: Sequence[Subject],
    *,
    seconds: float,
    seed: int,
    longest_seconds: float = float("inf"),
    clock: Callable[[], int] = time.perf_counter_ns,
) -> tuple[Timing, ...]:
    """Time subjects in random interleaved rounds.

    Each is called WARM_UPS times first. A burst lasts about BURST_SECONDS, at least one timed call
    and at most LONGEST_BURST. Garbage collection is off meanwhile.

    Args:
        subjects: What to time.
        seconds: How long to go on after the warm-up; FEWEST_ROUNDS are finished all the same.
        seed: Draws the order inside each round.
        longest_seconds: When to stop in any case, warm-up included, though after one round.
        clock: Nanoseconds that never go back.

    Returns:
        One timing per subject, in their order.
    """
    shuffle = random.Random(seed).shuffle
    last = clock() + longest_seconds * 1e9
    bursts = [_burst_length(subject, clock) for subject in subjects]
    times: list[list[list[int]]] = [[] for _ in subjects]
    counts = [WARM_UPS] * len(subjects)
    order = list(range(len(subjects)))
    with _no_garbage_collection():
        end = clock() + round(seconds * 1e9)
        rounds = 0
        while rounds == 0 or (clock() < last and (rounds < FEWEST_ROUNDS or clock() < end)):
            shuffle(order)
            for number in order:
                call, first = subjects[number].call, counts[number]
                counts[number] += bursts[number] + 1
                call(first)
                burst = []
                for index in range(first + 1, first + 1 + bursts[number]):
                    start = clock()
                    call(index)
                    burst.append(clock() - start)
                times[number].append(burst)
            rounds += 1
    return tuple(
        Timing(subject.name, np.asarray(rows, dtype=np.int64))
        for subject, rows in zip(subjects, times, strict=True)
    )


def _burst_length(subject: Subject, clock: Callable[[], int]) -> int:
    """Warm a subject up and say how many of its calls make a burst."""
    begin = clock()
    shortest = 0
    for index in range(WARM_UPS):
        start = clock()
        subject.call(index)
        took = clock() - start
        shortest = took if index == 0 else min(shortest, took)
        if index and clock() - begin > WARM_UP_SECONDS * 1e9:
            break
    return max(1, min(LONGEST_BURST, round(BURST_SECONDS * 1e9 / max(1, shortest))))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect now, and not again inside the block."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def usable_cores() -> tuple[int, ...]:
    """The numbers of the logical cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def check_threads(threads: int) -> None:
    """Refuse more threads than there are cores for them: they would wait for each other.

    Raises:
        MachineError: There are fewer cores.
    """
    cores = len(usable_cores())
    if threads > cores:
        raise MachineError(
            f"--threads {threads}: this process may use {cores} core{'s' if cores > 1 else ''}",
            hint=f"use --threads {cores} or fewer; more would wait for each other",
        )


def measuring_cores(count: int, *, watch_seconds: float = 0.1) -> tuple[int, ...]:
    """The cores to measure on: no two halves of one, the fastest kinds, and what others leave free.

    Where cores are not alike, every process has to meet the same kinds; the fastest are what a
    scheduler gives to a program that works hard. So the quietest are taken only among equals, by a
    short look at their idle time.

    Args:
        count: How many are wanted.
        watch_seconds: How long to look.

    Returns:
        Core numbers, the best first; where the system tells nothing of them, by their number.
    """
    left = list(usable_cores())
    if len(left) <= count:
        return tuple(left)
    before = _idle_ticks()
    if before:
        time.sleep(watch_seconds)
    after = _idle_ticks()
    kinds = _kinds({core: _speed(core) for core in left})
    halves = {core: _siblings(core) for core in left}
    chosen: list[int] = []

    def cost(core: int) -> tuple[bool, int, int]:
        shared = not halves[core].isdisjoint(chosen)
        return shared, kinds[core], before.get(core, 0) - after.get(core, 0)

    while len(chosen) < count:
        chosen.append(min(left, key=cost))
        left.remove(chosen[-1])
    return tuple(chosen)


def _kinds(speeds: Mapping[int, int]) -> dict[int, int]:
    """Which kind each core is of, by its speed; the fastest kind is 0."""
    kinds: dict[int, int] = {}
    kind, head = -1, 0
    for core in sorted(speeds, key=lambda core: -speeds[core]):
        if kind < 0 or speeds[core] < ALIKE * head:
            kind, head = kind + 1, speeds[core]
        kinds[core] = kind
    return kinds


def _speed(core: int) -> int:
    """What a core can do, in a unit of its machine; 0 where the system does not tell."""
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        with suppress(OSError, ValueError):
            return int((CORES / f"cpu{core}" / name).read_text(encoding="ascii"))
    return 0


def _siblings(core: int) -> frozenset[int]:
    """The logical cores that share one physical core with this one, itself among them."""
    found = {core}
    with suppress(OSError, ValueError):
        place = CORES / f"cpu{core}" / "topology" / "thread_siblings_list"
        for part in place.read_text(encoding="ascii").strip().split(","):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _idle_ticks() -> dict[int, int]:
    """Idle time of each core since boot, in kernel ticks; empty outside Linux."""
    ticks: dict[int, int] = {}
    with suppress(OSError):
        for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name[3:].isdigit():
                ticks[int(name[3:])] = int(fields[3])
    return ticks


def pin(cores: Sequence[int]) -> bool:
    """Keep this process and the threads it will start on these cores; False where it cannot."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        return False
    try:
        os.sched_setaffinity(0, cores)
    except OSError:
        return False
    return True
