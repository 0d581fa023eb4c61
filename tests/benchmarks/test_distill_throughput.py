"""The benchmark of distillation speed: it runs, and its record says what it should."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compress.records.throughput import ThroughputRecord
from tests.conftest import ROOT

SCRIPT = ROOT / "benchmarks" / "distill_throughput.py"


def run(*arguments: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_quick_round_times_every_variant_and_writes_the_record(tmp_path: Path) -> None:
    ended = run("--quick", "--pairs", "W2", "--out", tmp_path / "r.json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    record = ThroughputRecord.read(tmp_path / "r.json")
    (pair,) = record.pairs
    assert (record.batch_size, record.device, record.threads) == (16, "cpu", 1)
    assert (pair.name, pair.teacher, pair.student, pair.steps) == ("W2", "resnet56", "small_cnn", 1)
    for variant in ("plain", "uncached", "cached", "limit_with_teacher", "limit_student"):
        (speed,) = getattr(pair, variant)
        assert speed > 0
    assert len(pair.company_cost) == 1
    assert pair.ratio("cached", "uncached") == pair.cached[0] / pair.uncached[0]
    assert "cached / limit" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == [tmp_path / "r.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pairs", "W9"], "no pair 'W9': choose from W1, W2, W3"),
        (["--rounds", "0"], "--rounds"),
        (["--quick"], "no published record: name its file with --out"),
        (["--pairs", "W2"], "no published record: name its file with --out"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    ended = run(*arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert message in ended.stderr
