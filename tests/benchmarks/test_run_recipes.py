"""The script that runs the recipes: what it keeps, what it leaves out, and how it stops."""

import json
import os
import shlex
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from compress.locks import is_held
from compress.records.distill import DistillRecord
from compress.records.recipe import RecipeRecord
from compress.runs import LOCK, RECORD, Run
from tests.conftest import ROOT
from tests.fake_recipes import DIST, KD, recipe_record
from tests.fake_run import make_run
from tests.scripts import load_script

LISTENED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(scope="module")
def script() -> Any:
    """benchmarks/run_recipes.py, which finds its neighbour as it does when it is run."""
    return load_script("benchmarks", "run_recipes")


class Pretend:
    """A budget whose commands make invented runs."""

    ran: list[list[str]] = []
    codes: list[int] = []
    complete_with: int | None = None
    sent: signal.Signals | None = None

    def __init__(self, _minutes: float | None) -> None:
        self.interrupted = False

    def is_over(self) -> bool:
        return self.interrupted

    def interrupt(self, *_: Any) -> None:
        self.interrupted = True

    def wait_for(self, _folder: Path) -> None:
        pass

    def run(self, command: Sequence[str]) -> int:
        arguments = list(command)[3:]
        self.ran.append(arguments)
        code = self.codes.pop(0) if self.codes else 0
        folder = Path(arguments[arguments.index("--run-dir") + 1])
        if code in {0, self.complete_with} and not folder.exists():
            make_run(folder, command=arguments[0], predictions=False)
        if self.sent is not None:
            os.kill(os.getpid(), self.sent)
        return code


@pytest.fixture
def pretend(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[type[Pretend]]:
    monkeypatch.setattr(script, "Budget", Pretend)
    monkeypatch.setattr(script, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(Pretend, "ran", [])
    monkeypatch.setattr(Pretend, "codes", [])
    monkeypatch.setattr(Pretend, "sent", None)
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in LISTENED}
    yield Pretend
    for number, handler in before.items():
        signal.signal(number, handler)


def run(script: Any, tmp_path: Path, *arguments: str, device: str = "cpu") -> int:
    folders = ["--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records")]
    code: int = script.main([*arguments, *folders, "--device", device])
    return code


ORIGIN = "origin-cifar100-resnet18-resnet14"


def test_what_is_complete_is_kept_and_not_run_again(
    script: Any,
    pretend: type[Pretend],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless the recipe changes."""
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
    monkeypatch.setattr("compress.config.recipes.sha256", lambda name: f"of another {name}")
    assert run(script, tmp_path, "--list") == 0
    assert f"left   {ORIGIN}" in capsys.readouterr().out


AVERAGED = "cifar10-small-cnn-long-gentle"


def test_averages_that_are_asked_for_and_curves_are_kept_with_the_record(
    script: Any, pretend: type[Pretend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the run was made before anybody asked for averages."""
    folder = make_run(tmp_path / "runs" / AVERAGED, seeds=(0, 1, 2))
    without = DistillRecord.read(folder / RECORD).model_copy(update={"ensembles": ()})
    (folder / RECORD).write_text(without.to_json())
    (folder / "plots").mkdir(exist_ok=True)
    (folder / "plots" / "curves.png").write_bytes(b"a picture")
    (tmp_path / script.RESNET56).touch()
    monkeypatch.setenv("COMPRESS_TEACHERS", str(tmp_path))
    assert run(script, tmp_path, "--only", AVERAGED) == 0
    assert (tmp_path / "records" / f"{AVERAGED}.png").read_bytes() == b"a picture"
    kept = RecipeRecord.read(tmp_path / "records" / f"{AVERAGED}.json").result
    assert [(row.label, row.members) for row in kept.ensembles] == [
        ("average of 3 students", 3),
        ("average of 3 controls", 3),
    ]
    assert DistillRecord.read(folder / RECORD).ensembles == ()


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
    shortened = recipe_record("cifar10-small-cnn", {KD: [0.95], DIST: [0.92]})
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


def test_a_run_that_left_a_student_out_is_kept_as_it_is(
    script: Any, pretend: type[Pretend], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is complete and ends with 5, whenever it is shown."""
    monkeypatch.setattr(pretend, "complete_with", 5)
    pretend.codes += [0, 5]
    assert run(script, tmp_path, "--only", ORIGIN) == 0
    assert (tmp_path / "records" / f"{ORIGIN}.json").is_file()


def test_the_list_says_how_far_a_run_is(
    script: Any, pretend: type[Pretend], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "runs" / f"{ORIGIN}-teacher", command="train", predictions=False)
    make_run(tmp_path / "runs" / ORIGIN, complete=False, predictions=False)
    assert run(script, tmp_path, "--list", "--only", ORIGIN) == 0
    expected = f"left   {ORIGIN}: train complete, then distill running, epoch 20 of 20\n"
    assert capsys.readouterr().out == expected
    assert pretend.ran == []


ENSEMBLE = "origin-cifar100-ensemble"
PUPIL = f"{ENSEMBLE}-to-one"


@pytest.fixture
def ensemble_kept(pretend: type[Pretend], tmp_path: Path) -> Path:
    """The record of the ensemble in a checkout without its run; returns the record's file."""
    path = tmp_path / "records" / f"{ENSEMBLE}.json"
    path.parent.mkdir()
    path.write_text(recipe_record(ENSEMBLE, {}).to_json())
    return path


def listed(
    script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str = "cuda"
) -> list[str]:
    """What the list says of the ensemble and of the student it teaches."""
    capsys.readouterr()
    assert run(script, tmp_path, "--list", device=device) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if line.split()[1].rstrip(":") in {ENSEMBLE, PUPIL}]


def test_members_that_left_only_their_record_are_listed_as_left(
    script: Any, ensemble_kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert listed(script, tmp_path, capsys) == [
        f"left   {ENSEMBLE}: train not begun, then distill not begun; has its record, but {PUPIL} "
        "needs its run",
        f"later  {PUPIL}: after {ENSEMBLE}, whose run is not complete here",
    ]


def test_members_that_left_only_their_record_are_trained_again_before_they_teach(
    script: Any,
    pretend: type[Pretend],
    ensemble_kept: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = ensemble_kept.read_text()
    assert run(script, tmp_path, "--only", PUPIL, device="cuda") == 0
    assert pretend.ran == []
    assert run(script, tmp_path, "--only", ENSEMBLE, device="cuda") == 0
    assert [arguments[0] for arguments in pretend.ran] == ["train", "distill"]
    assert ensemble_kept.read_text() != before
    result = (tmp_path / "runs" / ENSEMBLE / RECORD).read_text()
    assert RecipeRecord.read(ensemble_kept).result.to_json() == result

    assert run(script, tmp_path, "--only", ENSEMBLE, device="cuda") == 0
    assert len(pretend.ran) == 2
    assert run(script, tmp_path, "--only", PUPIL, device="cuda") == 0
    assert len(pretend.ran) == 3
    assert listed(script, tmp_path, capsys) == [f"done   {ENSEMBLE}", f"done   {PUPIL}"]


def test_members_whose_pupil_has_its_record_are_done_without_their_run(
    script: Any, ensemble_kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (item,) = [item for item in script.ITEMS if item.name == PUPIL]
    changes = shlex.join(item.changes({}, gpu=True, epochs=None))
    record = recipe_record(PUPIL, {}).model_copy(update={"recipe": ENSEMBLE, "changes": changes})
    ensemble_kept.with_name(f"{PUPIL}.json").write_text(record.to_json())
    assert listed(script, tmp_path, capsys) == [f"done   {ENSEMBLE}", f"done   {PUPIL}"]


def test_a_run_that_a_killed_script_left_at_work_is_waited_for(
    script: Any,
    pretend: type[Pretend],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "runs" / f"{ORIGIN}-teacher"
    orphan = Run.open(folder, id=folder.name, command="train", config={"epochs": 20})
    waited: list[Path] = []

    def wait(_budget: Pretend, place: Path) -> None:
        if is_held(place / LOCK):
            assert pretend.ran == []
            waited.append(place)
            orphan.close()
            shutil.rmtree(place)

    monkeypatch.setattr(pretend, "wait_for", wait)
    assert run(script, tmp_path, "--only", ORIGIN) == 0
    assert waited == [folder]
    assert [arguments[0] for arguments in pretend.ran] == ["train", "distill"]


@pytest.mark.parametrize("number", LISTENED)
def test_a_signal_ends_the_work_politely(
    script: Any, pretend: type[Pretend], tmp_path: Path, number: signal.Signals
) -> None:
    def unheard(*_: Any) -> None:
        pytest.fail(f"{number.name} is not listened to")

    signal.signal(number, unheard)
    pretend.sent = number
    assert run(script, tmp_path, "--only", ORIGIN) == 130
    assert [arguments[0] for arguments in pretend.ran] == ["train"]


def test_a_hangup_that_nohup_has_ignored_stays_ignored(
    script: Any, pretend: type[Pretend], tmp_path: Path
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    pretend.sent = signal.SIGHUP
    assert run(script, tmp_path, "--only", ORIGIN) == 0
    assert [arguments[0] for arguments in pretend.ran] == ["train", "distill"]


def test_a_recipe_that_changes_while_it_is_run_leaves_no_record(
    script: Any,
    pretend: type[Pretend],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states = iter(("as it was",))
    monkeypatch.setattr("compress.config.recipes.sha256", lambda _: next(states, "as it is"))
    assert run(script, tmp_path, "--only", ORIGIN) == 2
    assert "changed while it was run" in capsys.readouterr().err
    assert not (tmp_path / "records" / f"{ORIGIN}.json").exists()
    assert run(script, tmp_path, "--only", ORIGIN, "--restart") == 0
    assert all("--restart" in arguments for arguments in pretend.ran[-2:])
    kept = RecipeRecord.read(tmp_path / "records" / f"{ORIGIN}.json")
    assert kept.recipe_sha256 == "as it is"


def test_restart_is_about_one_item(script: Any) -> None:
    with pytest.raises(SystemExit):
        script.parse(["--restart"])
