"""The lists of what there is."""

import errno
import fcntl
import json
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from compress.config.distill import DistillConfig, plan_students
from compress.config.list import ListConfig
from compress.config.recipes import names as recipe_names
from compress.data import registry as data
from compress.losses import registry as losses
from compress.models import registry as models
from compress.records.list import ListRecord
from compress.runs import LOCK, MANIFEST, RUNS, Run
from compress.stages.list import list_choices
from compress.training.results import diverged_row, note_diverged
from tests.fake_run import epochs, make_run


def listed(what: str, **options: Any) -> tuple[Any, ...]:
    record = list_choices(ListConfig.model_validate({"what": what, **options}))
    assert ListRecord.from_data(json.loads(record.to_json()), source="json") == record
    return record.entries


@pytest.fixture(scope="module")
def model_entries() -> dict[str, Any]:
    return {entry.name: entry for entry in listed("models")}


def test_every_model_is_listed_small_before_large_of_one_family(
    model_entries: dict[str, Any],
) -> None:
    assert sorted(model_entries) == models.names()
    order = list(model_entries)
    resnets = ["resnet8", "resnet14", "resnet18", "resnet20", "resnet50", "resnet110"]
    assert [name for name in order if name in resnets] == resnets


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("mobilenet_v2", 2.237e6, 88.0e6),
        ("resnet50", 23.52e6, 1298e6),
        ("small_cnn", 0.29e6, 38.6e6),
    ],
)
def test_models_are_counted_at_the_size_of_cifar10(
    model_entries: dict[str, Any], name: str, parameters: float, macs: float
) -> None:
    # counts of shared facts, rounded as they are written there
    entry = model_entries[name]
    assert entry.parameters == pytest.approx(parameters, rel=6e-3)
    assert entry.macs == pytest.approx(macs, rel=1e-3)


def test_models_come_with_their_options(model_entries: dict[str, Any]) -> None:
    options = model_entries["mobilenet_v2"].options
    assert options["width"] == 1.0
    assert options["stem_stride"] == 1
    assert model_entries["resnet56"].options == {}


def test_losses_say_whether_stored_answers_are_enough() -> None:
    entries = {entry.name: entry for entry in listed("losses")}
    assert sorted(entries) == losses.names()
    assert entries["kd"].options == {"temperature": 4.0}
    assert not entries["kd"].needs_features
    assert entries["attention"].needs_features
    assert not entries["dkd"].mixed_labels


def test_the_figures_of_digits_are_those_of_the_data() -> None:
    entry = next(entry for entry in listed("data") if entry.name == "digits")
    splits = data.load("digits")
    assert entry.train_images == splits.train.count + splits.validation.count
    assert entry.test_images == splits.test.count
    assert entry.classes == splits.classes
    assert entry.image_size == splits.image_size
    assert entry.found == "installed"


def test_every_known_data_set_is_listed_and_folders_too() -> None:
    names = [entry.name for entry in listed("data")]
    assert names == [*sorted(data.names(), key=("digits", "cifar10", "cifar100").index), "FOLDER"]


def test_cifar_is_found_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {entry.name: entry.found for entry in listed("data")}
    assert found["cifar10"] is None
    (tmp_path / "cifar-10-batches-bin").mkdir()
    monkeypatch.setenv("COMPRESS_DATA", str(tmp_path))
    found = {entry.name: entry.found for entry in listed("data")}
    assert found["cifar10"] == str(tmp_path / "cifar-10-batches-bin")
    assert found["cifar100"] is None


def test_recipes_are_listed_with_what_they_say_about_themselves() -> None:
    entries = {entry.name: entry for entry in listed("recipes")}
    assert list(entries) == recipe_names()
    assert "source" in entries["digits"].about


def test_no_runs_is_an_empty_list(workspace: Path) -> None:
    assert listed("runs") == ()


def test_a_complete_run_shows_the_student_that_is_best_on_validation(workspace: Path) -> None:
    folder = make_run(RUNS / "done", models=("small_cnn", "mobilenet_v2"))
    (entry,) = listed("runs")
    record = json.loads((folder / "record.json").read_text())
    students = [row for row in record["students"] if row["role"] == "student"]
    best = max(students, key=lambda row: row["val_top1"])
    assert (entry.run, entry.status, entry.command) == ("done", "complete", "distill")
    assert (entry.best, entry.top1) == (best["label"], best["top1"])
    assert (entry.epochs_done, entry.epochs, entry.data) == (20, 20, "cifar10")


def test_a_training_shows_its_model(workspace: Path) -> None:
    make_run(RUNS / "alone", command="train")
    (entry,) = listed("runs")
    assert (entry.command, entry.best) == ("train", "small_cnn")


def test_a_run_is_running_only_while_a_process_holds_it(workspace: Path) -> None:
    run = Run.open(RUNS / "now", id="now", command="train", config={"data": "digits", "epochs": 3})
    (entry,) = listed("runs")
    assert (entry.status, entry.epochs_done, entry.epochs) == ("running", 0, 3)
    run.close()
    (entry,) = listed("runs")
    assert entry.status == "interrupted"


def begun(**more: Any) -> Run:
    """An interrupted distillation of two students and their controls, for 20 epochs."""
    config = DistillConfig.model_validate({"student": ["small_cnn"], "seeds": [0, 1], "epochs": 20})
    asked = {**json.loads(config.model_dump_json()), **more}
    run = Run.open(RUNS / "groups", id="groups", command="distill", config=asked)
    run.close()
    return run


STUDENTS = ["small_cnn-s0", "small_cnn-s1"]
CONTROLS = ["small_cnn-control-s0", "small_cnn-control-s1"]


def test_a_run_in_groups_is_as_far_as_its_students_on_average(workspace: Path) -> None:
    run = begun()
    run.write_epochs(epochs(STUDENTS))
    assert (listed("runs")[0].epochs_done, listed("runs")[0].epochs) == (10, 20)
    run.write_epochs([*epochs(STUDENTS), *epochs(CONTROLS, 3)])
    assert listed("runs")[0].epochs_done == 11, "46 epochs of four students"


def test_nobody_waits_for_a_student_that_diverged(workspace: Path) -> None:
    run = begun()
    run.write_epochs([*epochs(STUDENTS), *epochs(CONTROLS[:1], 2), *epochs(CONTROLS[1:], 5)])
    assert listed("runs")[0].epochs_done == 11, "47 of four"
    plans = plan_students(DistillConfig.model_validate(run.manifest.config))
    (plan,) = (plan for plan in plans if plan.label == CONTROLS[0])
    note_diverged(run, diverged_row(plan, epoch=3, reason="a loss is not finite"))
    assert listed("runs")[0].epochs_done == 15, "45 of three"


def test_a_run_that_another_version_planned_is_as_far_as_those_that_began(
    workspace: Path,
) -> None:
    run = begun(option_of_tomorrow=1)
    run.write_epochs([*epochs(STUDENTS), *epochs(CONTROLS[:1], 7)])
    assert listed("runs")[0].epochs_done == 15, "47 of three"


def test_looking_does_not_hold_a_run(workspace: Path) -> None:
    Run.open(RUNS / "a", id="a", command="train", config={"epochs": 1}).close()
    listed("runs")
    with (RUNS / "a" / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_failed_run_says_why(workspace: Path) -> None:
    run = Run.open(RUNS / "bad", id="bad", command="train", config={"epochs": 3})
    run.finish("failed", reason="the loss became NaN")
    run.close()
    (entry,) = listed("runs")
    assert (entry.status, entry.reason) == ("failed", "the loss became NaN")


def test_a_damaged_run_does_not_hide_the_others(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(RUNS / "good")
    shutil.copytree(RUNS / "good", RUNS / "cut")
    (RUNS / "cut" / MANIFEST).write_text("{")
    shutil.copytree(RUNS / "good", RUNS / "gone")
    (RUNS / "gone" / "record.json").unlink()
    shutil.copytree(RUNS / "good", RUNS / "garbled")
    (RUNS / "garbled" / "epochs.jsonl").write_bytes(b"\xff\n")
    shutil.copytree(RUNS / "good", RUNS / "locked")
    read = Path.read_text

    def refuse(path: Path, **how: Any) -> str:
        if path == RUNS / "locked" / "epochs.jsonl":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path, **how)

    monkeypatch.setattr(Path, "read_text", refuse)
    entries = {entry.run: entry for entry in listed("runs")}
    assert entries["good"].status == "complete"
    assert entries["cut"].status == entries["gone"].status == "damaged"
    assert entries["garbled"].status == "complete"
    assert entries["locked"].status == "damaged"
    assert "cannot read runs/locked/epochs.jsonl: Permission denied" in entries["locked"].reason
    assert "is not JSON" in entries["cut"].reason
    assert "does not exist" in entries["gone"].reason


def test_the_newest_run_comes_first_and_says_when_it_was_begun(workspace: Path) -> None:
    for name, moment in (("old", 1_700_000_000), ("new", 1_800_000_000)):
        make_run(RUNS / name)
        os.utime(RUNS / name / LOCK, (moment, moment))
    entries = listed("runs")
    assert [entry.run for entry in entries] == ["new", "old"]
    assert datetime.fromisoformat(entries[1].begun).timestamp() == 1_700_000_000


def test_soft_labels_are_those_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "labels" / "key"
    (folder / "views").mkdir(parents=True)
    description = {
        "schema": 1,
        "name": "resnet56",
        "data": "cifar10",
        "splits_sha256": "0" * 64,
        "class_names": ["a", "b"],
        "weights_sha256": ["1" * 64],
        "parameters": 1,
        "macs": 1,
        "size_bytes": 4,
        "top1": 0.93,
        "val_top1": 0.94,
        "foreign": True,
        "number_format": "float32",
        "format_agreement": 1.0,
        "format_probability_error": 0.0,
    }
    (folder / "teacher.json").write_text(json.dumps(description))
    (folder / "views" / "0.safetensors").write_bytes(bytes(100))
    (entry,) = listed("soft-labels", soft_labels=tmp_path / "labels")
    assert (entry.key, entry.teacher, entry.views, entry.size_bytes) == ("key", "resnet56", 1, 100)


def test_soft_labels_are_looked_for_in_the_cache(tmp_path: Path) -> None:
    record = list_choices(ListConfig(what="soft-labels"))
    assert record.place == str(tmp_path / "cache" / "soft-labels")
    assert record.entries == ()
