"""The script that runs the recipes: what it asks for, what it keeps, and how it stops."""

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


def run(script: Any, tmp_path: Path, *arguments: str) -> int:
    folders = ["--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records")]
    code: int = script.main([*arguments, *folders, "--device", "cpu"])
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


def test_a_failure_keeps_nothing_and_lets_the_next_item_run(
    script: Any, pretend: type[Pretend], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend.codes.append(5)
    assert run(script, tmp_path) == 5
    recipes_run = [arguments[2] for arguments in pretend.ran]
    assert recipes_run[0] == "origin-cifar10-alexnet-three-students"
    assert ORIGIN in recipes_run
    written = {path.stem for path in (tmp_path / "records").iterdir()}
    assert written == {"origin-cifar10-resnet50-mobilenetv2", ORIGIN, "digits"}
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
