"""The time of the script that runs the recipes: how it ends, and how it waits."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compress.locks import is_held
from compress.runs import LOCK, Run
from tests.scripts import load_script

POLITE = """
import signal, sys, time
def stop(number, frame): sys.exit(130)
signal.signal(signal.SIGINT, stop)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def script() -> Any:
    """benchmarks/recipe_budget.py."""
    return load_script("benchmarks", "recipe_budget")


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[Run]:
    """A run that somebody else works in."""
    run = Run.open(tmp_path / "run", id="run", command="train", config={})
    yield run
    run.close()


@pytest.fixture
def looks(script: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Makes something happen at the third pause between two looks at a run directory."""

    def at_the_third(act: Callable[[], object]) -> None:
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            assert len(pauses) <= 3, "waits for what is over"
            if len(pauses) == 3:
                act()

        monkeypatch.setattr(script.time, "sleep", pause)

    return at_the_third


def test_a_child_is_asked_to_stop_when_the_minutes_are_spent(script: Any) -> None:
    budget = script.Budget(0.05)
    begin = time.monotonic()
    assert budget.run([sys.executable, "-c", POLITE]) == 130
    assert 3 <= time.monotonic() - begin < 30
    assert budget.is_over()
    assert not budget.interrupted


def test_a_signal_is_passed_on_and_nothing_more_is_begun(script: Any) -> None:
    budget = script.Budget(None)
    assert not budget.is_over()
    before = signal.signal(signal.SIGALRM, budget.interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 3.0)
        assert budget.run([sys.executable, "-c", POLITE]) == 130
    finally:
        signal.signal(signal.SIGALRM, before)
    assert budget.is_over()
    assert budget.interrupted


def test_a_run_that_somebody_works_in_is_waited_for_and_that_is_said_once(
    script: Any, orphan: Run, looks: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    looks(orphan.close)
    budget = script.Budget(None)
    budget.wait_for(orphan.folder)
    assert not is_held(orphan.folder / LOCK)
    said = f"another process is working in {orphan.folder}: waiting for it to end\n"
    assert capsys.readouterr().err == said
    assert not budget.is_over()


def test_a_run_that_nobody_works_in_is_not_waited_for(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.Budget(None).wait_for(tmp_path / "nowhere")
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "nowhere").exists()


def test_a_signal_is_heard_while_waiting(script: Any, orphan: Run, looks: Any) -> None:
    budget = script.Budget(None)
    before = signal.signal(signal.SIGALRM, budget.interrupt)
    looks(lambda: signal.raise_signal(signal.SIGALRM))
    try:
        budget.wait_for(orphan.folder)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert budget.interrupted


def test_the_minutes_are_over_while_waiting(
    script: Any, orphan: Run, looks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = script.Budget(1)
    begin = time.monotonic()
    looks(lambda: monkeypatch.setattr(script.time, "monotonic", lambda: begin + 61))
    budget.wait_for(orphan.folder)
    assert budget.is_over()
    assert not budget.interrupted
