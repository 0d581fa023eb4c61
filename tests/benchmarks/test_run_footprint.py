"""What a run costs beside its training: measured on digits, and counted by hand."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.config.specs import ModelSpec
from compress.records.footprint import FootprintRecord
from compress.training.formats import Format
from tests.conftest import ROOT
from tests.scripts import load_script
from tests.tiny_training import trained_teacher_file

FIXED = 256 * 2**20
"""More than plots and PyTorch's kernels take beside a training that needs next to nothing."""


@pytest.fixture(scope="module")
def footprint() -> Any:
    """The script as a module."""
    return load_script("benchmarks", "run_footprint")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> FootprintRecord:
    folder = tmp_path_factory.mktemp("footprint")
    trained_teacher_file(folder / "teacher.safetensors")
    ended = subprocess.run(
        [
            *(sys.executable, ROOT / "benchmarks" / "run_footprint.py"),
            *("--data", "digits", "--image-size", "8", "--teacher", "teacher.safetensors"),
            *("--student", "small_cnn:width=0.25", "--starts", "2", "--out", "r.json"),
        ],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    found = FootprintRecord.read(folder / "r.json")
    assert not found.met, "so small a training is lost beside the libraries"
    return found


def test_a_run_is_measured_and_named(record: FootprintRecord) -> None:
    assert (record.data, record.teacher, record.learners) == ("digits", "small_cnn", 2)
    assert record.student == "small_cnn:width=0.25"
    assert record.command.endswith("--student small_cnn:width=0.25 --starts 2 --out r.json")
    assert record.starts == 2


def test_what_is_needed_is_counted(record: FootprintRecord) -> None:
    assert record.images_bytes == 1797 * 8 * 8 * 3
    channels = (3, 8, 8, 16, 16, 32, 32)
    weights = sum(9 * a * b + 2 * b for a, b in pairwise(channels)) + 32 * 10 + 10
    statistics = 2 * sum(channels[1:]) * 4 + 6 * 8  # float32, and how many batches were seen
    momentum = weights
    assert record.weights_bytes == 2 * (4 * (weights + momentum) + statistics)


def test_nothing_but_libraries_comes_on_top(record: FootprintRecord) -> None:
    assert record.begun_bytes <= record.trained_bytes <= record.peak_bytes
    assert record.imports_bytes < record.peak_bytes
    assert record.peak_bytes - record.imports_bytes < record.needed_bytes + FIXED


def test_a_run_begins_soon_after_its_imports(record: FootprintRecord) -> None:
    """Both are measured alike, so that a slow machine is no failure; 5 s is the target."""
    assert record.first_step_seconds < 3 * record.imports_seconds + 2


def test_starts_without_a_remembered_trial_or_a_stored_view_are_no_measurement(
    footprint: Any, tmp_path: Path
) -> None:
    formats, views = tmp_path / "formats", tmp_path / "soft-labels" / "teacher" / "views"
    for folder in (formats, views):
        folder.mkdir(parents=True)
    (formats / "a.json").write_text('{"question": {"purpose": "teacher"}}')
    (views / "v.safetensors").write_bytes(b"")
    with pytest.raises(SystemExit, match="0 trials and 1 views"):
        footprint.at_hand(tmp_path)
    (formats / "b.json").write_text('{"question": {"purpose": "student"}}')
    before = footprint.at_hand(tmp_path)
    assert sorted(before) == ["a.json", "b.json", "v.safetensors"]
    os.utime(views / "v.safetensors", ns=(1, 1))  # read again
    assert footprint.at_hand(tmp_path) == before
    os.utime(formats / "b.json", ns=(1, 1))  # tried again
    assert footprint.at_hand(tmp_path) != before


def test_each_kept_block_is_counted_once_and_weights_not_at_all(
    footprint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linear keeps its input, ReLU its output, the loss its log-softmax and its targets."""
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)
    )
    monkeypatch.setattr(footprint.models, "build", lambda *_args, **_options: model)
    images, hidden, logits, labels = 6 * 48 * 4, 6 * 5 * 4, 6 * 2 * 4, 6 * 8
    counted = footprint.activation_bytes(
        ModelSpec.parse("small_cnn"), Format(), classes=2, image_size=4, batch_size=6
    )
    total_weight = 4  # cross-entropy's sum of class weights, one float
    assert counted == images + hidden + logits + labels + total_weight
