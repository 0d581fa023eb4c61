"""The script that runs the recipes: what it asks for, what it keeps, and how it stops."""

import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from compress.cli.distill import distill as distill_command
from compress.cli.train import train as train_command
from compress.config import recipes
from compress.config.distill import DistillConfig, plan_students
from compress.records.recipe import RecipeRecord
from compress.runs import RECORD
from compress.stages.distill import check_plans
from tests.conftest import ROOT
from tests.fake_run import make_run, record, student
from tests.scripts import load_script

KD = "ce:weight=0.1 + kd:weight=0.9,temperature=4"
DIST = "ce + dist:weight=2"
DKD = "ce + dkd:alpha=1,beta=8,temperature=4"
POLITE = """
import signal, sys, time
def stop(number, frame): sys.exit(130)
signal.signal(signal.SIGINT, stop)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def script() -> Any:
    """benchmarks/run_recipes.py, which finds its neighbour as it does when it is run."""
    return load_script("benchmarks", "run_recipes")


@pytest.fixture
def places(script: Any, tmp_path: Path) -> Any:
    teachers = tmp_path / "secret"
    teachers.mkdir()
    (teachers / "resnet56-cifar10.safetensors").touch()
    return script.Places(tmp_path / "runs", tmp_path / "records", teachers)


def kept(name: str, scores: dict[str, list[float]]) -> RecipeRecord:
    """A record whose students have these validation accuracies by loss; test says the opposite."""
    rows = [
        student(
            f"small_cnn-{place}-s{seed}",
            seed=seed,
            settings={"loss": loss},
            val_top1=value,
            top1=1 - value,
        )
        for place, (loss, values) in enumerate(scores.items())
        for seed, value in enumerate(values)
    ]
    rows.append(student("small_cnn-control", val_top1=0.99))
    return RecipeRecord(
        name=name, recipe=name, changes="", commands=(), teacher=None, result=record(rows)
    )


@pytest.fixture
def earlier() -> dict[str, RecipeRecord]:
    """dist is the best of the methods; over three seeds kd is better than dist."""
    return {
        "cifar10-small-cnn": kept("cifar10-small-cnn", {KD: [0.95], DIST: [0.92], DKD: [0.91]}),
        "cifar10-small-cnn-seeds": kept(
            "cifar10-small-cnn-seeds", {DIST: [0.99, 0.1, 0.1], KD: [0.91, 0.91, 0.91]}
        ),
        "origin-cifar100-ensemble": kept("origin-cifar100-ensemble", {}),
    }


def asked(monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str]) -> Any:
    """The configuration that a command hands to its stage."""
    found: list[Any] = []

    def stage(config: Any, **_options: Any) -> None:
        found.append(config)
        raise SystemExit

    monkeypatch.setattr("compress.stages.distill.distill", stage)
    monkeypatch.setattr("compress.stages.train.train", stage)
    app = typer.Typer()
    app.command("distill")(distill_command)
    app.command("train")(train_command)
    result = CliRunner().invoke(app, list(arguments))
    assert found, result.output
    return found[0]


def items() -> list[str]:
    return [item.name for item in load_script("benchmarks", "recipe_items").ITEMS]


@pytest.mark.parametrize("name", items())
def test_every_item_asks_for_something_that_can_be_trained(
    script: Any,
    places: Any,
    earlier: dict[str, RecipeRecord],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (item,) = [item for item in script.ITEMS if item.name == name]
    steps = script.steps_of(item, item.changes(earlier, gpu=True, epochs=None), places)
    config = asked(monkeypatch, steps[-1].arguments)
    assert isinstance(config, DistillConfig)
    check_plans(config, plan_students(config))
    assert config.run_dir == steps[-1].folder
    assert len(config.teacher) == 1
    if len(steps) == 2:
        training = asked(monkeypatch, steps[0].arguments)
        assert training.run_dir == steps[0].folder == Path(config.teacher[0].target)
        wanted = config.teacher_training
        assert wanted is not None
        assert training == wanted.model_copy(update={"run_dir": training.run_dir})


def test_every_recipe_is_run_as_it_is(script: Any) -> None:
    whole = {item.name for item in script.ITEMS if item.of is None}
    assert whole == set(recipes.names())


def test_the_best_method_is_chosen_on_validation_images(
    script: Any, earlier: dict[str, RecipeRecord]
) -> None:
    by_name = {item.name: item for item in script.ITEMS}
    seeds = by_name["cifar10-small-cnn-seeds"].changes(earlier, gpu=True, epochs=None)
    assert seeds == ["--sweep", f"loss={KD};{DIST}", "--seeds", "0,1,2"]
    longer = by_name["cifar10-small-cnn-40-epochs"].changes(earlier, gpu=True, epochs=None)
    assert longer == ["--sweep", f"loss={KD}", "--seeds", "0,1,2", "--epochs", "40"]


def test_a_cpu_may_get_fewer_epochs_for_teacher_and_students(script: Any, places: Any) -> None:
    (item,) = [one for one in script.ITEMS if one.name == "origin-cifar10-resnet50-mobilenetv2"]
    changes = item.changes({}, gpu=False, epochs=None)
    assert changes == ["--epochs", "25"]
    for step in script.steps_of(item, changes, places):
        assert step.arguments[step.arguments.index("--epochs") + 1] == "25"
        assert "25-epochs" in step.folder.name
    assert item.changes({}, gpu=True, epochs=None) == []
    assert item.changes({}, gpu=True, epochs=3) == ["--epochs", "3"]


def test_as_many_epochs_as_the_recipe_has_are_no_change(script: Any) -> None:
    by_name = {item.name: item for item in script.ITEMS}
    origin = by_name["origin-cifar10-resnet50-mobilenetv2"]
    assert origin.changes({}, gpu=False, epochs=40) == []
    # six of the teacher and ten of the students: ten for both is another experiment
    assert by_name["digits"].changes({}, gpu=True, epochs=10) == ["--epochs", "10"]


def test_epochs_asked_for_displace_those_of_the_item(
    script: Any, places: Any, earlier: dict[str, RecipeRecord]
) -> None:
    by_name = {item.name: item for item in script.ITEMS}
    longer = by_name["cifar10-small-cnn-40-epochs"]
    changes = longer.changes(earlier, gpu=False, epochs=3)
    assert changes == ["--sweep", f"loss={KD}", "--seeds", "0,1,2", "--epochs", "3"]
    (step,) = script.steps_of(longer, changes, places)
    assert step.arguments.count("--epochs") == 1
    assert step.folder.name == "cifar10-small-cnn-winner-3-epochs"
    # another experiment than the recipe itself with three epochs
    short = by_name["cifar10-small-cnn"]
    (other,) = script.steps_of(short, short.changes({}, gpu=False, epochs=3), places)
    assert other.folder.name == "cifar10-small-cnn-3-epochs"
    assert longer.changes(earlier, gpu=False, epochs=40) == [*changes[:-1], "40"]
    assert longer.record_name([*changes[:-1], "40"]) == longer.name


def test_a_kept_command_names_no_place_of_this_machine(script: Any, places: Any) -> None:
    (item,) = [one for one in script.ITEMS if one.name == "cifar10-small-cnn"]
    (step,) = script.steps_of(item, [], places)
    assert str(places.runs.parent) in " ".join(step.arguments)
    assert shlex.split(script.shown(step.arguments, places)) == [
        *("compress", "distill", "--recipe", "cifar10-small-cnn", "--teacher"),
        "resnet56-cifar10.safetensors:model=resnet56,normalization=imagenet",
        *("--run-dir", "runs/cifar10-small-cnn"),
    ]


class Pretend:
    """A budget whose commands make invented runs."""

    ran: list[list[str]] = []
    codes: list[int] = []
    interrupted = False

    def __init__(self, _minutes: float | None) -> None:
        pass

    def is_over(self) -> bool:
        return False

    def interrupt(self, *_: Any) -> None:
        raise AssertionError

    def run(self, command: Sequence[str]) -> int:
        arguments = list(command)[3:]
        self.ran.append(arguments)
        code = self.codes.pop(0) if self.codes else 0
        folder = Path(arguments[arguments.index("--run-dir") + 1])
        if not code and not folder.exists():
            make_run(folder, command=arguments[0], predictions=False)
        return code


@pytest.fixture
def pretend(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[type[Pretend]]:
    monkeypatch.setattr(script, "Budget", Pretend)
    monkeypatch.setattr(script, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(Pretend, "ran", [])
    monkeypatch.setattr(Pretend, "codes", [])
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Pretend
    for number, handler in before.items():
        signal.signal(number, handler)


def run(script: Any, tmp_path: Path, *arguments: str, device: str = "cpu") -> int:
    folders = ["--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records")]
    code: int = script.main([*arguments, *folders, "--device", device])
    return code


ORIGIN = "origin-cifar100-resnet18-resnet14"


def test_what_is_complete_is_kept_and_not_run_again(
    script: Any, pretend: type[Pretend], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(script, tmp_path, "--only", ORIGIN, "--remark", "paused twice") == 0
    assert [arguments[0] for arguments in pretend.ran] == ["train", "distill"]
    kept = RecipeRecord.read(tmp_path / "records" / f"{ORIGIN}.json")
    assert (kept.name, kept.recipe, kept.changes) == (ORIGIN, ORIGIN, "")
    assert kept.teacher is not None
    assert kept.remark == "paused twice"
    assert kept.result.to_json() == (tmp_path / "runs" / ORIGIN / RECORD).read_text()
    teacher = f"--teacher runs/{ORIGIN}-teacher"
    assert kept.commands[1] == (
        f"compress distill --recipe {ORIGIN} {teacher} --run-dir runs/{ORIGIN}"
    )
    assert run(script, tmp_path, "--only", ORIGIN) == 0
    assert len(pretend.ran) == 2
    assert f"done   {ORIGIN}" in capsys.readouterr().out


SHORTENED = "origin-cifar10-resnet50-mobilenetv2"


def written(tmp_path: Path) -> dict[str, str]:
    """The changes of each record by its file's name."""
    files = (tmp_path / "records").iterdir()
    return {path.stem: RecipeRecord.read(path).changes for path in files}


def test_a_shortened_run_is_kept_beside_the_whole_one_and_never_counts_as_it(
    script: Any, pretend: type[Pretend], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(script, tmp_path, "--only", SHORTENED) == 0
    assert written(tmp_path) == {f"{SHORTENED}-25-epochs": "--epochs 25"}
    capsys.readouterr()
    assert run(script, tmp_path, "--only", SHORTENED) == 0
    assert f"done   {SHORTENED}-25-epochs\n" == capsys.readouterr().out
    assert len(pretend.ran) == 2

    assert run(script, tmp_path, "--only", SHORTENED, "--epochs", "3") == 0
    assert len(pretend.ran) == 4
    assert run(script, tmp_path, "--only", SHORTENED, device="cuda") == 0
    assert len(pretend.ran) == 6
    assert "--epochs" not in pretend.ran[-1]
    assert written(tmp_path) == {
        SHORTENED: "",
        f"{SHORTENED}-3-epochs": "--epochs 3",
        f"{SHORTENED}-25-epochs": "--epochs 25",
    }
    # as many epochs as the recipe has: that is done
    assert run(script, tmp_path, "--only", SHORTENED, "--epochs", "40", device="cuda") == 0
    assert len(pretend.ran) == 6


def test_what_was_run_whole_is_not_run_shortened_unless_it_is_asked_for(
    script: Any, pretend: type[Pretend], tmp_path: Path
) -> None:
    assert run(script, tmp_path, "--only", SHORTENED, device="cuda") == 0
    assert run(script, tmp_path, "--only", SHORTENED) == 0
    assert len(pretend.ran) == 2
    assert run(script, tmp_path, "--only", SHORTENED, "--epochs", "25") == 0
    assert len(pretend.ran) == 4


def test_a_shortened_record_under_the_name_of_a_whole_one_is_known_for_what_it_is(
    script: Any, pretend: type[Pretend], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(script, tmp_path, "--only", SHORTENED) == 0
    records = tmp_path / "records"
    (records / f"{SHORTENED}-25-epochs.json").rename(records / f"{SHORTENED}.json")
    capsys.readouterr()
    assert run(script, tmp_path, "--list", "--only", SHORTENED) == 0
    assert capsys.readouterr().out.startswith("done ")
    assert run(script, tmp_path, "--list", "--only", SHORTENED, device="cuda") == 0
    assert capsys.readouterr().out.startswith("left ")


def test_what_follows_from_an_item_waits_for_it_to_be_run_whole(
    script: Any, pretend: type[Pretend], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "records").mkdir()
    shortened = kept("cifar10-small-cnn", {KD: [0.95], DIST: [0.92]})
    shortened = shortened.model_copy(update={"changes": "--epochs 3"})
    (tmp_path / "records" / "cifar10-small-cnn.json").write_text(shortened.to_json())
    assert run(script, tmp_path, "--list", "--only", "cifar10-small-cnn-seeds") == 0
    assert capsys.readouterr().out == "later  cifar10-small-cnn-seeds: after cifar10-small-cnn\n"


def test_every_record_of_a_whole_run_in_the_repository_counts_as_done(
    script: Any, tmp_path: Path
) -> None:
    folder = ROOT / "benchmarks" / "records"
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    whole = {
        record["name"]
        for record in found
        if {"recipe", "commands", "result"} <= set(record) and not record["changes"]
    }
    assert whole >= {"digits", "cifar10-two-block-cnn", "origin-cifar10-alexnet-three-students"}
    assert whole <= script.read_records(script.Places(tmp_path, folder, None)).keys()


def test_a_failure_keeps_nothing_and_lets_the_next_item_run(
    script: Any, pretend: type[Pretend], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend.codes.append(5)
    assert run(script, tmp_path) == 5
    recipes_run = [arguments[2] for arguments in pretend.ran]
    assert recipes_run[0] == "origin-cifar10-alexnet-three-students"
    assert ORIGIN in recipes_run
    written = {path.stem for path in (tmp_path / "records").iterdir()}
    assert written == {f"{SHORTENED}-25-epochs", ORIGIN, "digits"}
    shown = capsys.readouterr()
    assert "left   origin-cifar10-alexnet-three-students: train not begun" in shown.out
    assert "left   cifar10: train not begun, then distill not begun; made for a GPU" in shown.out
    assert "later  cifar10-small-cnn-seeds: after cifar10-small-cnn" in shown.out
    assert "COMPRESS_TEACHERS" in shown.err


def test_the_list_says_how_far_a_run_is(
    script: Any, pretend: type[Pretend], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "runs" / f"{ORIGIN}-teacher", command="train", predictions=False)
    make_run(tmp_path / "runs" / ORIGIN, complete=False, predictions=False)
    assert run(script, tmp_path, "--list", "--only", ORIGIN) == 0
    expected = f"left   {ORIGIN}: train complete, then distill running, epoch 20 of 20\n"
    assert capsys.readouterr().out == expected
    assert pretend.ran == []


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
