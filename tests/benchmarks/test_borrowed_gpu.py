"""The script for a machine with a GPU that has neither a network nor this project."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "borrowed_gpu.sh"
STUB = """#!/bin/sh
# stands for every Python: tells what it was asked, and where its data are
[ "$1" != -c ] || { echo "$3==1.0"; exit; }
echo "$* | ${COMPRESS_DATA:-} ${PYTHONPATH:-}" >>"$LOG"
case "$*" in *unpack.py*) [ -f "${COMPRESS_DATA}/second" ] ;; esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing but the script, and what stands for Python."""
    place = tmp_path / "checkout"
    (place / "benchmarks" / "records").mkdir(parents=True)
    (place / "benchmarks" / SCRIPT.name).write_bytes(SCRIPT.read_bytes())
    python = place / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(STUB)
    python.chmod(0o755)
    return place


def run(checkout: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    place = checkout.parent
    known = {
        "PATH": os.environ["PATH"],
        "PYTHON": str(checkout / ".venv" / "bin" / "python"),
        "LOG": str(place / "log"),
        "PLACE": str(place / "there"),
        "OUT": str(place / "out"),
    }
    return subprocess.run(
        ["sh", str(checkout / "benchmarks" / SCRIPT.name), *arguments],
        env={**known, **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def asked(checkout: Path) -> list[str]:
    return (checkout.parent / "log").read_text().splitlines()


def packed(checkout: Path) -> None:
    """Three files of 0.4 MiB of data in parts of 1 MiB, and a teacher."""
    data, teachers = checkout.parent / "data", checkout.parent / "teachers"
    for name in ("unpack.py", "sheets/first", "second"):
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (400 << 10))
    teachers.mkdir()
    (teachers / "t.safetensors").write_bytes(b"t" * (400 << 10))
    finished = run(checkout, "pack", str(data), str(teachers), PART_MIB="1")
    assert finished.returncode == 0, finished.stderr


def test_data_is_packed_in_parts_and_what_every_call_needs_comes_first(checkout: Path) -> None:
    packed(checkout)
    parts = {
        part.name: sorted(p.relative_to(part).as_posix() for p in part.rglob("*") if p.is_file())
        for part in sorted((checkout / ".gpu").glob("part-*"))
    }
    assert set(parts) == {"part-1", "part-2"}
    assert "teachers/t.safetensors" in parts["part-1"]
    assert parts["part-2"][-1] == "sheets/first"
    assert ["unpack.py" in files for files in parts.values()] == [True, False]
    (download,) = asked(checkout)
    assert "pip download" in download
    assert "pydantic==1.0" in download


def test_a_call_takes_what_has_come_and_asks_with_it(checkout: Path, tmp_path: Path) -> None:
    packed(checkout)
    finished = run(checkout, "tests")
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "there" / "data" / "teachers" / "t.safetensors").is_file()
    called = asked(checkout)[-1]
    assert called.startswith("-m pytest -m gpu ")
    assert called.endswith(f"| {tmp_path}/there/data {tmp_path}/there/site:{checkout}")


def test_recipes_run_in_the_time_given_and_come_home_in_pieces(
    checkout: Path, tmp_path: Path
) -> None:
    packed(checkout)
    (checkout / "benchmarks" / "records" / "a.json").write_text("{}")
    weights = checkout / "runs" / "a" / "students" / "s.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"w")
    (checkout / "runs" / "a" / "last.pt").write_bytes(b"checkpoint")
    finished = run(checkout, "recipes", "8", "cifar10")
    assert finished.returncode == 0, finished.stderr
    assert "run_recipes.py --device cuda --minutes 8 --only cifar10" in asked(checkout)[-1]
    (piece,) = (tmp_path / "out").iterdir()
    with tarfile.open(piece) as archive:
        names = archive.getnames()
    assert "benchmarks/records/a.json" in names
    assert "runs/a/students/s.safetensors" in names
    assert "runs/a/last.pt" not in names


def test_images_that_have_not_all_come_stop_nothing(checkout: Path, tmp_path: Path) -> None:
    packed(checkout)
    missing = next((checkout / ".gpu").glob("part-*/second"))
    missing.unlink()
    finished = run(checkout, "recipes", "8")
    assert "not all images have come" in finished.stderr
    assert "run_recipes.py" in asked(checkout)[-1]


@pytest.mark.parametrize("arguments", [(), ("else",), ("recipes",), ("pack", "data")])
def test_what_it_is_asked_must_be_one_of_its_jobs(
    checkout: Path, arguments: tuple[str, ...]
) -> None:
    finished = run(checkout, *arguments)
    assert finished.returncode == 2
    assert "recipes MINUTES" in finished.stderr or "pack DATA TEACHERS" in finished.stderr


def test_a_folder_that_is_not_there_is_not_packed(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    finished = run(checkout, "pack", str(tmp_path / "data"), str(tmp_path / "teachrs"))
    assert finished.returncode == 2
    assert not (checkout / ".gpu").exists()
