import gc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from compress.errors import MachineError
from compress.measure import latency
from compress.measure.latency import (
    FEWEST_ROUNDS,
    LONGEST_BURST,
    WARM_UPS,
    Subject,
    Timing,
    check_threads,
    measuring_cores,
    pin,
    time_interleaved,
    usable_cores,
)


class FakeMachine:
    """A clock that only calls move; each subject takes the time it is told."""

    def __init__(self) -> None:
        self.now = 0
        self.log: list[tuple[str, int]] = []

    def clock(self) -> int:
        return self.now

    def subject(self, name: str, milliseconds: float) -> Subject:
        def call(index: int) -> None:
            self.now += round(milliseconds * 1e6)
            self.log.append((name, index))

        return Subject(name, call)


def bursts_of(log: list[tuple[str, int]]) -> list[str]:
    """The subjects in the order their bursts came."""
    return [name for k, (name, _) in enumerate(log) if k == 0 or log[k - 1][0] != name]


def test_each_call_is_timed_to_the_nanosecond() -> None:
    machine = FakeMachine()
    fast, slow = time_interleaved(
        [machine.subject("fast", 1), machine.subject("slow", 3)],
        seconds=0.1, seed=0, clock=machine.clock,
    )  # fmt: skip
    assert (fast.name, slow.name) == ("fast", "slow")
    assert set(fast.calls_ms) == {1.0}
    assert set(slow.calls_ms) == {3.0}


def test_subjects_take_turns_in_random_order_within_every_round() -> None:
    machine = FakeMachine()
    subjects = [machine.subject(name, 1) for name in "abc"]
    timings = time_interleaved(subjects, seconds=1, seed=3, clock=machine.clock)
    rounds = len(timings[0].rounds)
    assert {len(timing.rounds) for timing in timings} == {rounds}
    measured = machine.log[3 * WARM_UPS :]
    calls = len(measured) // (3 * rounds)
    orders = {
        tuple(measured[start + k * calls][0] for k in range(3))
        for start in range(0, len(measured), 3 * calls)
    }
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert len(orders) == 6


def test_a_burst_lasts_about_four_milliseconds_and_its_first_call_is_not_timed() -> None:
    machine = FakeMachine()
    timings = time_interleaved(
        [machine.subject(str(ms), ms) for ms in (0.01, 1, 50)],
        seconds=0.01, seed=0, clock=machine.clock,
    )  # fmt: skip
    assert [timing.rounds.shape[1] for timing in timings] == [LONGEST_BURST, 4, 1]
    calls = sum(name == "1" for name, _ in machine.log)
    assert calls == WARM_UPS + FEWEST_ROUNDS * (4 + 1)


def test_inputs_rotate_without_a_gap() -> None:
    machine = FakeMachine()
    time_interleaved([machine.subject("a", 1)], seconds=0.02, seed=0, clock=machine.clock)
    assert [index for _, index in machine.log] == list(range(len(machine.log)))


def test_it_goes_on_for_the_seconds_asked_for() -> None:
    machine = FakeMachine()
    time_interleaved([machine.subject("a", 1)], seconds=2, seed=0, clock=machine.clock)
    assert machine.now == pytest.approx(2e9 + WARM_UPS * 1e6, abs=5e6)


def test_a_very_slow_model_still_ends_in_time_with_at_least_one_round() -> None:
    machine = FakeMachine()
    (timing,) = time_interleaved(
        [machine.subject("a", 2000)], seconds=1, longest_seconds=5, seed=0, clock=machine.clock
    )
    assert timing.rounds.tolist() == [[2_000_000_000]]
    assert len(machine.log) == 2 + 2


def test_garbage_is_not_collected_while_timing_and_is_again_afterwards() -> None:
    seen = []
    machine = FakeMachine()

    def call(_index: int) -> None:
        machine.now += 1_000_000
        seen.append(gc.isenabled())

    time_interleaved([Subject("a", call)], seconds=0.01, seed=0, clock=machine.clock)
    assert not any(seen[WARM_UPS:])
    assert gc.isenabled()


def test_low_quantile_and_variation_of_a_timing() -> None:
    timing = Timing("a", np.array([[1, 2, 3, 4, 5], [3, 3, 3, 3, 900]]) * 1_000_000)
    assert timing.low_quantiles_ms.tolist() == [2.0, 3.0]
    assert timing.variation == 0.0
    assert Timing("b", np.array([[1], [3]])).variation == pytest.approx(0.5)


def test_more_threads_than_cores_are_refused_with_both_numbers() -> None:
    cores = len(usable_cores())
    check_threads(cores)
    with pytest.raises(MachineError, match=rf"--threads {cores + 1}: .* {cores} core"):
        check_threads(cores + 1)


def test_the_core_that_idled_most_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "CORES", tmp_path)
    looks = iter([{0: 100, 1: 100, 2: 100}, {0: 101, 1: 110, 2: 105}])
    monkeypatch.setattr(latency, "_idle_ticks", lambda: next(looks))
    monkeypatch.setattr(latency, "usable_cores", lambda: (0, 1, 2))
    assert measuring_cores(2, watch_seconds=0) == (1, 2)


class Cores:
    """What a system tells of its logical cores; they idled as long as their number is high."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, count: int) -> None:
        self._folder = folder
        looks = iter([dict.fromkeys(range(count), 0), {core: core for core in range(count)}] * 9)
        patch.setattr(latency, "CORES", folder)
        patch.setattr(latency, "_idle_ticks", lambda: next(looks))
        patch.setattr(latency, "usable_cores", lambda: tuple(range(count)))

    def tell(self, name: str, values: Mapping[int, object]) -> None:
        for core, value in values.items():
            place = self._folder / f"cpu{core}" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f"{value}\n")

    def chosen(self, counts: Sequence[int]) -> list[tuple[int, ...]]:
        return [measuring_cores(count, watch_seconds=0) for count in counts]


@pytest.mark.parametrize("name", ["cpu_capacity", "cpufreq/cpuinfo_max_freq"])
def test_every_process_meets_the_fastest_kind_of_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    cores = Cores(tmp_path, monkeypatch, 6)
    cores.tell(name, {0: 1024, 1: 1000, 2: 1024, 3: 530, 4: 530, 5: 530})
    assert cores.chosen([1, 2, 3, 4]) == [(2,), (2, 1), (2, 1, 0), (2, 1, 0, 5)]


def test_of_three_kinds_the_middle_one_comes_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = Cores(tmp_path, monkeypatch, 8)
    cores.tell("cpu_capacity", {**dict.fromkeys(range(1, 8), 300), 0: 1024, 1: 870, 2: 860})
    assert cores.chosen([1, 2, 3, 4]) == [(0,), (0, 2), (0, 2, 1), (0, 2, 1, 7)]


@pytest.mark.parametrize("siblings", [("0,2", "1,3"), ("0-1", "2-3")])
def test_threads_get_no_two_halves_of_one_core_while_there_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, siblings: tuple[str, str]
) -> None:
    cores = Cores(tmp_path, monkeypatch, 4)
    lists = {int(core): text for text in siblings for core in text.replace("-", ",").split(",")}
    cores.tell("topology/thread_siblings_list", lists)
    (three, other), (*_, third) = cores.chosen([2, 3])
    assert three == 3
    assert lists[other] != lists[3]
    assert third == (2 if other != 2 else 1)


def test_a_core_without_a_fellow_is_taken_before_half_of_a_fast_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = Cores(tmp_path, monkeypatch, 4)
    cores.tell("cpu_capacity", {0: 1024, 1: 1024, 2: 600, 3: 600})
    cores.tell("topology/thread_siblings_list", {0: "0-1", 1: "0-1", 2: "2", 3: "3"})
    assert cores.chosen([1, 2, 3]) == [(1,), (1, 3), (1, 3, 2)]


def test_without_a_look_at_idle_time_any_core_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "CORES", tmp_path)
    monkeypatch.setattr(latency, "_idle_ticks", dict)
    assert measuring_cores(1) == usable_cores()[:1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_pinning_keeps_the_process_on_the_cores_given() -> None:
    before = os.sched_getaffinity(0)
    core = usable_cores()[-1]
    try:
        assert pin([core])
        assert os.sched_getaffinity(0) == {core}
    finally:
        os.sched_setaffinity(0, before)
    assert not pin([10_000])
