"""What the script that runs the recipes asks for."""

import shlex
from collections.abc import Sequence
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
from compress.stages.distill import check_plans
from tests.fake_recipes import DIST, DKD, KD, recipe_record
from tests.fake_run import make_run, record, student
from tests.scripts import load_script


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


@pytest.fixture
def earlier() -> dict[str, RecipeRecord]:
    """dist is the best of the methods; over three seeds kd is better than dist."""
    return {
        "cifar10-small-cnn": recipe_record(
            "cifar10-small-cnn", {KD: [0.95], DIST: [0.92], DKD: [0.91]}
        ),
        "cifar10-small-cnn-seeds": recipe_record(
            "cifar10-small-cnn-seeds", {DIST: [0.99, 0.1, 0.1], KD: [0.91, 0.91, 0.91]}
        ),
        "origin-cifar100-ensemble": recipe_record("origin-cifar100-ensemble", {}),
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
    back = by_name["cifar10-small-cnn-to-one"].changes(earlier, gpu=True, epochs=None)
    assert back == ["--sweep", f"loss={KD}", "--seed", "0", "--no-control"]


def test_kd_goes_on_alone_where_every_other_loss_diverged(
    script: Any, earlier: dict[str, RecipeRecord]
) -> None:
    first = earlier["cifar10-small-cnn"]
    left = tuple(row for row in first.result.students if row.settings.get("loss", KD) == KD)
    result = first.result.model_copy(update={"students": left})
    some = {**earlier, first.name: first.model_copy(update={"result": result})}
    (item,) = [item for item in script.ITEMS if item.name == "cifar10-small-cnn-seeds"]
    assert item.changes(some, gpu=True, epochs=None)[:2] == ["--sweep", f"loss={KD}"]


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


def test_students_are_taught_on_from_the_run_of_the_item_before(script: Any, places: Any) -> None:
    by_name = {item.name: item for item in script.ITEMS}
    refined, before = by_name["cifar10-small-cnn-refined"], "cifar10-small-cnn-long-gentle"
    assert script.lacks_members(refined, places)
    assert script.pupils(by_name[before], [], {}, places) == [refined.name]
    assert script.pupils(by_name[before], [], {refined.name: None}, places) == []
    make_run(places.runs / before, predictions=False)
    assert not script.lacks_members(refined, places)
    (step,) = script.steps_of(refined, [], places)
    assert shlex.split(script.shown(step.arguments, places))[6:] == [
        *("--initial-weights", f"runs/{before}"),
        *("--run-dir", f"runs/{refined.name}"),
    ]
    assert refined.outside


def test_a_kept_result_names_no_place_of_this_machine(script: Any, places: Any) -> None:
    (item,) = [one for one in script.ITEMS if one.name == "cifar10-small-cnn"]
    places.runs.mkdir()
    for folder in (places.runs / "first", Path("runs", "first")):
        written = record([student("small_cnn")], initial_weights=str(folder)).to_json()
        (places.runs / "record.json").write_text(written)
        assert script.result_of(item, [], places.runs, places).initial_weights == "runs/first"
