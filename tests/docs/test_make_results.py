"""The page of results is made from the records and says what is in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from compress.config import recipes
from compress.records.distill import EnsembleRow
from compress.records.recipe import RecipeRecord
from compress.records.train import TrainRecord
from compress.records.training import DivergedRow
from tests.conftest import ROOT
from tests.fake_recipe import header
from tests.fake_run import ENVIRONMENT, TEACHER, record, student, summary_row
from tests.scripts import load_script

RECORDS = ROOT / "benchmarks" / "records"
HEADERS = {
    "cifar10-small-cnn": header("small CNN", source="a paper", expected="90%"),
    "cifar100": header("the pair", source="another", expected="71%"),
}
SHARED = ("run", "data", "train_images", "val_images", "test_images", "epochs", "environment")
ROWS = [
    student("small_cnn-kd", top1=0.9186, kd_gain=0.0032, kd_gain_low=-0.001, kd_gain_high=0.0075),
    student("small_cnn-dkd", top1=0.9, kd_gain=-0.0154, kd_gain_low=-0.02, kd_gain_high=-0.01),
    student("small_cnn-control", top1=0.9154),
]


@pytest.fixture(scope="module")
def script() -> Any:
    """docs/make_results.py."""
    return load_script("docs", "make_results")


def kept(changes: str = "", **result: Any) -> RecipeRecord:
    return RecipeRecord(
        name="cifar10-small-cnn" + ("-more" if changes else ""),
        recipe="cifar10-small-cnn",
        changes=changes,
        commands=("compress distill --recipe cifar10-small-cnn",),
        teacher=None,
        result=record(**{"students": ROWS, **result}),
    )


def line_of(page: str, start: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(start))


def test_a_section_says_what_the_students_learned_from(script: Any) -> None:
    lines = script.section(kept(soft_labels="both"), None)
    assert any("; stored soft labels and live teacher; " in line for line in lines)


def test_a_section_names_who_was_left_out_and_the_chance_of_many_gains(script: Any) -> None:
    gone = DivergedRow(
        label="wild", model="small_cnn", seed=0, role="student", epoch=3, reason="the loss is NaN"
    )
    lines = script.section(kept(diverged=(gone,), students=(*ROWS, *ROWS)), None)
    assert "* Left out: wild diverged in epoch 3: the loss is NaN" in lines
    assert "4 gains are compared: of 20 such ranges, chance misplaces one." in lines
    assert not any("chance" in line for line in script.section(kept(), None))


def test_what_students_began_with_is_said(script: Any) -> None:
    begun = kept(initial_weights="runs/first", initial_foreign=True)
    assert any("; begun with first |" in line for line in script.overview([begun]))
    section = script.section(begun, None)
    assert any("epochs from the weights of runs/first;" in line for line in section)
    assert any("may know the validation images" in line for line in section)
    assert not any("begun with" in line for line in script.overview([kept()]))


def test_a_section_says_where_not_the_best_epoch_was_kept(script: Any) -> None:
    last = tuple(row.model_copy(update={"select": "last"}) for row in ROWS)
    said = "* Top-1 is at the last epoch, whatever its validation top-1."
    assert said in script.section(kept(students=last), None)
    assert not any(line.startswith("* Top-1") for line in script.section(kept(), None))


def test_a_section_tells_the_teachers_weights_from_others(script: Any) -> None:
    known = TEACHER.model_copy(update={"weights_sha256": ("8" * 64,)})
    lines = script.section(kept(teacher=known), None)
    assert any("MACs; sha256 8888888888888888…; from outside" in line for line in lines)
    assert not any("sha256" in line for line in script.section(kept(), None))


def test_the_page_of_results_is_up_to_date(script: Any) -> None:
    written = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    made = script.page(script.read_records(RECORDS), script.recipe_aims.headers())
    assert written == made, "run `python docs/make_results.py`"


def test_every_recipe_names_its_record(script: Any) -> None:
    whole = {
        record.recipe: f"benchmarks/records/{record.name}.json"
        for record in script.read_records(RECORDS)
        if not record.changes
    }
    assert {name: recipes.about(name).record for name in recipes.names()} == {
        name: whole.get(name, "not yet run whole") for name in recipes.names()
    }


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_no_record_names_a_place_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not [place for place in ("/home/", "/root/", "/tmp/", "/work/") if place in text]


def test_one_seed_has_the_interval_over_images_and_its_verdict(script: Any) -> None:
    page = script.page([kept()], HEADERS)
    assert line_of(page, "| [cifar10-small-cnn](#cifar10-small-cnn) | resnet56 93.39 |") == (
        "| [cifar10-small-cnn](#cifar10-small-cnn) | resnet56 93.39 | small_cnn-kd | 20 | 1 "
        "| 91.86 (90.86-92.86) | +0.32 (-0.10 to +0.75) within noise |"
    )
    assert "-1.54 (-2.00 to -1.00) KD hurts (1 seed) |" in page
    assert "| small_cnn-control, no KD | 20 | 1 | 91.54 (90.54-92.54) | - |" in page


def test_several_seeds_are_a_mean_and_a_spread(script: Any) -> None:
    summary = summary_row(
        "small_cnn-kd",
        top1_mean=0.92,
        top1_sd=0.002,
        last_top1_mean=0.919,
        last_top1_sd=0.003,
        kd_gain_mean=0.005,
        kd_gain_low=0.001,
        kd_gain_high=0.009,
    )
    page = script.page([kept(summary=(summary,))], HEADERS)
    assert "| small_cnn-kd | 20 | 3 | 92.00 ± 0.20 | +0.50 (+0.10 to +0.90) KD helps |" in page
    assert "| small_cnn-kd | 3 | 92.00 ± 0.20 | 91.90 ± 0.30 | +0.50 (+0.10" in page
    assert "| -1.54 (-2.00 to -1.00) |" in page, "one of several seeds has no say"
    assert "KD hurts" not in page


def test_a_record_tells_its_command_machine_teacher_and_what_was_expected(script: Any) -> None:
    page = script.page([kept()], HEADERS)
    _, _, section = page.partition("## cifar10-small-cnn\n")
    assert "```console\ncompress distill --recipe cifar10-small-cnn\n```" in section
    assert "2 cores of Example CPU (avx2); Linux x86_64, Python 3.11.9" in section
    assert "from outside: it may have been trained on the validation images" in section
    assert "* Source: a paper" in section
    assert "* Expected: 90%" in section
    assert "1.4 h" in section
    assert "../benchmarks/records/cifar10-small-cnn.json" in section
    assert "Remark" not in section
    paused = kept().model_copy(update={"remark": "Paused twice."})
    assert "* Remark: Paused twice.\n" in script.page([paused], HEADERS)
    own = kept(teacher=TEACHER.model_copy(update={"foreign": False}))
    assert "trained before, on the same split" in script.page([own], HEADERS)


def test_a_teacher_that_was_trained_has_its_training_accuracy_in_the_table(script: Any) -> None:
    (model,) = [student("resnet56", top1=0.9339, train_top1=0.9876, last_top1=0.93)]
    own = TrainRecord(
        **{key: getattr(kept().result, key) for key in SHARED}, models=(model,), seconds=900.0
    )
    page = script.page([kept().model_copy(update={"teacher": own})], HEADERS)
    assert line_of(page, "| resnet56, teacher |") == (
        "| resnet56, teacher | 93.39 (92.89-93.86) | 93.00 | 94.12 | 98.76 "
        "| - | - | 3.80 | 853 k | 125 M | 15.0 min |"
    )
    known = kept(teacher=TEACHER.model_copy(update={"train_top1": 0.9777}))
    assert "| 94.12 | 97.77 |" in script.page([known], HEADERS)
    assert "| resnet56, teacher | 93.39 (92.89-93.86) | - | 94.12 | - |" in script.page(
        [kept()], HEADERS
    )


def test_ensembles_are_compared_with_their_members(script: Any) -> None:
    ensemble = EnsembleRow(
        label="average of 10 students",
        members=10,
        top1=0.598,
        top1_low=0.588,
        top1_high=0.608,
        mean_member_top1=0.49,
    )
    row = "| average of 10 students | 10 | 59.80 (58.80-60.80) | 49.00 | +10.80"
    assert f"{row} |" in script.page([kept(ensembles=(ensemble,))], HEADERS)
    judged = {"gain": 0.108, "gain_low": 0.1, "gain_high": 0.116}
    page = script.page([kept(ensembles=(ensemble.model_copy(update=judged),))], HEADERS)
    assert f"{row} (+10.00 to +11.60) averaging helps |" in page


def test_what_was_not_run_whole_is_said(script: Any) -> None:
    _, _, nothing = script.page([], HEADERS).partition("## Not yet run whole")
    assert "| `cifar100` | the pair | 71% |" in nothing
    assert "`cifar10-small-cnn`" in nothing
    _, _, changed = script.page([kept("--epochs 40")], HEADERS).partition("## Not yet run whole")
    assert "`cifar10-small-cnn`" in changed
    page = script.page([kept("--epochs 40"), kept()], HEADERS)
    assert "The recipe with `--epochs 40`." in page
    _, _, rest = page.partition("## Not yet run whole")
    assert "`cifar10-small-cnn`" not in rest


def test_that_no_record_is_of_a_gpu_is_said_while_it_is_so(script: Any) -> None:
    headers, said = script.recipe_aims.headers(), script.NO_GPU
    assert said in script.left([kept()], headers)
    machine = ENVIRONMENT.model_copy(update={"accelerator": "a GPU"})
    assert said not in script.left([kept(environment=machine)], headers)


def test_other_records_are_passed_over(script: Any, tmp_path: Path) -> None:
    (tmp_path / "speed.json").write_text(json.dumps({"schema": 1, "pairs": []}))
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "b.json").write_text(kept("--epochs 40").to_json())
    (tmp_path / "c.json").write_text(kept().to_json())
    assert [kept.changes for kept in script.read_records(tmp_path)] == ["", "--epochs 40"]
