"""Formats: tried, remembered, never assumed."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compress.training.formats import Format, dtypes, fastest, remembered, student_candidates

CPU = torch.device("cpu")


def sleeper(
    seconds: dict[Format, float], calls: list[Format]
) -> Callable[[Format], Callable[[], None]]:
    def prepare(candidate: Format) -> Callable[[], None]:
        def call() -> None:
            calls.append(candidate)
            time.sleep(seconds[candidate])

        return call

    return prepare


def test_the_fastest_candidate_wins_and_slow_ones_are_dropped_early() -> None:
    slow, fast, near = Format(channels_last=False), Format(), Format(pointwise=True)
    calls: list[Format] = []
    times = {slow: 0.2, fast: 0.01, near: 0.012}
    choice, measured = fastest([fast, slow, near], sleeper(times, calls), repeats=4)
    assert choice == fast
    assert calls.count(slow) == 2
    assert calls.count(fast) > 2
    assert measured[str(slow)] >= 200


def test_a_single_candidate_is_not_timed() -> None:
    calls: list[Format] = []
    choice, measured = fastest([Format()], sleeper({Format(): 1.0}, calls))
    assert choice == Format()
    assert calls == []
    assert measured == {}


def test_a_trial_is_remembered_per_question(tmp_path: Path) -> None:
    asked: list[str] = []

    def decide(name: str) -> Callable[[], Format]:
        def run() -> Format:
            asked.append(name)
            return Format(dtype="bfloat16")

        return run

    for _ in range(2):
        assert remembered(tmp_path, {"model": "a"}, decide("a"), device=CPU).dtype == "bfloat16"
    remembered(tmp_path, {"model": "b"}, decide("b"), device=CPU)
    assert asked == ["a", "b"]


def test_a_damaged_memory_is_tried_again(tmp_path: Path) -> None:
    remembered(tmp_path, {"model": "a"}, Format, device=CPU)
    for path in (tmp_path / "formats").iterdir():
        path.write_text("{")
    assert remembered(
        tmp_path, {"model": "a"}, lambda: Format(pointwise=True), device=CPU
    ).pointwise
    stored = json.loads(next((tmp_path / "formats").iterdir()).read_text())
    assert stored["answer"]["pointwise"] is True


@pytest.mark.parametrize(
    ("amp", "expected"),
    [("off", ["float32"]), ("bf16", ["bfloat16"]), ("auto", ["float32", "bfloat16"])],
)
def test_amp_says_which_number_formats_are_tried(amp: str, expected: list[str]) -> None:
    assert dtypes(amp, CPU) == expected
    tried = {candidate.dtype for candidate in student_candidates(amp, CPU, small_maps=True)}
    assert tried == set(expected)
