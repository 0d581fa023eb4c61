"""Options that bench and gate share."""

import inspect

import pytest

from compress.cli import measuring
from compress.cli.bench import bench
from compress.cli.gate import gate

SHARED = ("teacher", "threads", "max_seconds", "limit", "on", "provider", "strict", "max_size_kib")


@pytest.mark.parametrize("option", SHARED)
def test_bench_and_gate_both_take_it(option: str) -> None:
    for command in (bench, gate):
        assert option in inspect.signature(command).parameters


def test_they_are_the_same_option_in_both() -> None:
    for name in ("provider", "threads", "on"):
        kinds = [
            inspect.signature(command).parameters[name].annotation for command in (bench, gate)
        ]
        assert kinds[0] is kinds[1]
    assert inspect.signature(bench).parameters["threads"].annotation is measuring.Threads
