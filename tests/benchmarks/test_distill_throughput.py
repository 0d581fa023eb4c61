"""The benchmark of distillation speed: it runs, and its record says what it should."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.records.throughput import PairThroughput, ThroughputRecord
from tests.conftest import ROOT
from tests.fake_throughput import PAIR, throughput
from tests.scripts import load_script

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


@pytest.fixture(scope="module")
def script() -> Any:
    return load_script("benchmarks", "distill_throughput")


@pytest.fixture(scope="module")
def pairs() -> Any:
    return load_script("benchmarks", "throughput_pairs")


@pytest.mark.parametrize(
    ("name", "asked", "device", "steps"),
    [
        ("W1", 0, "cpu", 12),
        ("W3", 0, "cpu", 3),
        ("W1", 0, "cuda", 200),
        ("W3", 0, "cuda", 200),
        ("W3", 7, "cpu", 7),
        ("W3", 7, "cuda", 7),
    ],
)
def test_a_round_on_a_gpu_is_long_enough_to_be_timed(
    pairs: Any, name: str, asked: int, device: str, steps: int
) -> None:
    found = pairs.pair_of(name, steps=asked, device=torch.device(device))
    assert found.steps == steps
    assert found.student == pairs.PAIRS[name].student


@pytest.mark.parametrize(
    ("batch_size", "at_once", "passes", "share"),
    [
        (16, 1, 5, 1.0),  # on a CPU: a step's images at a time
        (16, 40, 2, 1.0),  # 80 images
        (16, 512, 1, 80 / 512),
        (1024, 512, 5, 1.0),
    ],
)
def test_the_limit_s_teacher_answers_as_many_images_at_a_time_as_ours(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, at_once: int, passes: int, share: float
) -> None:
    variants = load_script("benchmarks", "throughput_variants")
    monkeypatch.setitem(variants.AT_ONCE, "cpu", at_once)
    sizes: list[int] = []

    class Watched(torch.nn.Flatten):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return super().forward(images)[:, :10]

    def build(_: object) -> torch.nn.Module:
        return torch.nn.Sequential(Watched(), torch.nn.Linear(10, 10))

    def first(formats: Any, _: object) -> Any:
        return next(iter(formats)), {}

    def timed(work: Any, _: torch.device) -> float:
        work()
        return 1.0

    for name, stand_in in (("build", build), ("fastest", first), ("timed", timed)):
        monkeypatch.setattr(variants, name, stand_in)
    monkeypatch.setattr(variants, "fold_batchnorm", lambda model: model)
    pair = load_script("benchmarks", "throughput_pairs").PAIRS["W2"]
    limit = variants.Limit(
        dataclasses.replace(pair, steps=5), batch_size, torch.device("cpu"), "off"
    )
    assert limit.teacher() == share
    assert sizes == [max(batch_size, at_once)] * passes


def test_a_call_that_is_interrupted_keeps_the_pairs_that_it_measured(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(name: str, *_: object, **__: object) -> PairThroughput:
        if name == "W3":
            raise KeyboardInterrupt
        return PAIR.model_copy(update={"name": name})

    monkeypatch.setattr(script, "measure", measure)
    out = tmp_path / "r.json"
    with pytest.raises(KeyboardInterrupt):
        script.main(["--device", "cpu", "--out", str(out)])
    assert [pair.name for pair in ThroughputRecord.read(out).pairs] == ["W1", "W2"]


def test_a_part_of_the_measurement_does_not_take_the_place_of_a_published_record(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "RECORDS", tmp_path)
    pairs = [PAIR.model_copy(update={"name": name}) for name in ("W1", "W2", "W3")]
    part = script.written(throughput(*pairs[:2]), None)
    assert list(tmp_path.iterdir()) == [part]
    assert part.suffix == ".part"
    whole = script.written(throughput(*pairs), None)
    assert list(tmp_path.iterdir()) == [whole]
    assert whole.match("distill_throughput-*.json")
