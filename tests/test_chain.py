"""The whole way: distill, export, bench, gate, each knowing the rest from the run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import call_program, run_program

RECIPE = """
[data]
data = "digits"
image_size = 8
[train]
model = "small_cnn"
epochs = 4
learning_rate = 0.2
[distill]
student = ["small_cnn"]
epochs = 4
learning_rate = 0.2
"""
MODEL = {
    *("name", "role", "precision", "size_bytes", "parameters", "macs", "top1"),
    *("p50_ms", "p90_ms", "p99_ms", "speedup"),
}
"""What the command contract promises of every row of bench."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory in which digits were distilled and exported."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "mine.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COMPRESS_CACHE", str(folder / "cache"))
        for arguments in (("distill", "--recipe", "mine.toml", "--no-control"), ("export", "last")):
            finished = call_program(*arguments)
            assert finished.code == 0, finished.stderr
        yield folder


@pytest.fixture(scope="module")
def measured(place: Path) -> Any:
    """What `bench last` says of the run that was made last."""
    finished = call_program("bench", "last", "--max-seconds", "3", "--json", "-")
    assert finished.code == 0, finished.stderr
    (place / "bench.json").write_text(finished.stdout)
    return json.loads(finished.stdout)


def test_every_form_of_student_and_teacher_is_measured(measured: Any) -> None:
    rows = {(row["role"], row["precision"]) for row in measured["models"]}
    assert rows == {(r, p) for r in ("student", "teacher") for p in ("fp32", "int8")}


def test_the_rows_hold_what_the_contract_says(measured: Any) -> None:
    assert measured["schema"] == 1
    assert measured["environment"]["packages"]["onnxruntime"]
    for row in measured["models"]:
        assert row.keys() >= MODEL


def test_accuracy_is_that_of_the_run(measured: Any, place: Path) -> None:
    record = _students(place)
    rows = {r["role"]: r["top1"] for r in measured["models"] if r["precision"] == "fp32"}
    assert rows["student"] == pytest.approx(record["students"][0]["top1"], abs=1 / 360)
    assert rows["teacher"] == pytest.approx(record["teacher"]["top1"], abs=1 / 360)


def _students(place: Path) -> Any:
    """The record of the distillation."""
    records = [json.loads(path.read_text()) for path in place.glob("runs/*/record.json")]
    (found,) = [record for record in records if "teacher" in record]
    return found


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (("--min-top1", "0.5", "--max-size-kib", "2000"), 0),
        (("--max-size-kib", "1"), 1),
        (("--min-top1", "0.9999", "--student", "small_cnn"), 1),
        ((), 2),
    ],
)
@pytest.mark.parametrize("target", ["last", "bench.json"])
def test_the_gate_judges_the_export_and_the_json_alike(
    measured: Any, place: Path, target: str, limits: tuple[str, ...], code: int
) -> None:
    assert call_program("gate", target, *limits).code == code


def test_an_artifact_answers_as_where_it_was_made(place: Path) -> None:
    assert call_program("check", "last").code == 0


@pytest.mark.data
@pytest.mark.timeout(3600)  # minutes with AVX-512, four times as many without
def test_cifar10_from_a_published_teacher_to_the_gate(
    cifar_dir: Path, teacher_file: Path, tmp_path: Path
) -> None:
    teacher = f"{teacher_file}:model=resnet56,normalization=imagenet"
    data = ("--data", "cifar10", "--data-dir", cifar_dir)
    models = ("--teacher", teacher, "--student", "small_cnn", "--no-control")
    nowhere = {"COMPRESS_DATA": ""}  # what follows knows the place from the first command

    taught = run_program(
        *("distill", *data, *models, "--epochs", "1", "--json", "-"),
        cwd=tmp_path,
        env=nowhere,
        timeout=1500,
    )
    assert taught.code == 0, taught.stderr
    record = json.loads(taught.stdout)
    assert record["teacher"]["top1"] == pytest.approx(0.9339, abs=0.0005)
    assert record["students"][0]["top1"] > 0.4
    run = tmp_path / "runs" / record["run"]
    steps = (
        ("export", run),
        ("bench", run, "--limit", "2000", "--json", "bench.json"),
        ("gate", run, "--limit", "2000", "--min-top1", "0.3", "--max-quant-drop", "0.02"),
    )
    for arguments in steps:
        finished = run_program(*arguments, cwd=tmp_path, env=nowhere, timeout=1500)
        assert finished.code == 0, finished.stderr + finished.stdout
