"""Run directories: identity, one process at a time, and nothing believed unchecked."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress import runs
from compress.errors import ConfigError, InputError, Interrupted
from compress.locks import is_held
from compress.records.run import EpochRecord
from compress.runs import LOCK, Run, opened

CONFIG: dict[str, Any] = {"data": "digits", "epochs": 3, "seed": 0}


def _open(folder: Path, *, config: dict[str, Any] = CONFIG, restart: bool = False) -> Run:
    return Run.open(folder, id=folder.name, command="distill", config=config, restart=restart)


def _complete(folder: Path, *, age_seconds: int = 0) -> Path:
    with opened(_open(folder)) as run:
        (folder / "students").mkdir()
        (folder / "students" / "a.safetensors").write_bytes(b"weights")
        run.finish("complete")
    begun = (folder / "lock").stat().st_mtime - age_seconds
    os.utime(folder / "lock", (begun, begun))
    return folder


def _epoch(number: int) -> EpochRecord:
    return EpochRecord(
        label="a",
        epoch=number,
        loss=1.0,
        train_top1=0.5,
        val_top1=0.5,
        val_loss=1.0,
        learning_rate=0.1,
        images_per_second=10.0,
        seconds=1.0,
    )


def test_a_new_run_is_running_from_its_first_second(tmp_path: Path) -> None:
    run = _open(tmp_path / "r")
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    run.close()
    assert manifest["status"] == "running"
    assert manifest["config"] == CONFIG
    assert manifest["environment"]["python"].startswith("3.")


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with opened(_open(tmp_path / "r")):
        program = (
            "import sys; from pathlib import Path; from compress.runs import Run\n"
            "Run.open(Path(sys.argv[1]), id='r', command='distill', config={})"
        )
        second = subprocess.run(
            [sys.executable, "-c", program, tmp_path / "r"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert "another process is working in" in second.stderr
    assert runs.read_manifest(tmp_path / "r").config == CONFIG


def test_who_holds_a_run_is_seen_at_its_lock(tmp_path: Path) -> None:
    with opened(_open(tmp_path / "r")):
        assert is_held(tmp_path / "r" / LOCK)
    assert not is_held(tmp_path / "r" / LOCK)


def test_only_a_finished_run_is_complete(tmp_path: Path) -> None:
    assert not runs.is_complete(tmp_path / "r")
    with opened(_open(tmp_path / "r")) as run:
        assert not runs.is_complete(tmp_path / "r")
        run.finish("complete")
    assert runs.is_complete(tmp_path / "r")


def test_other_options_are_refused_and_named(tmp_path: Path) -> None:
    _open(tmp_path / "r").close()
    with pytest.raises(ConfigError, match="--epochs is 3 in the run, 5 now"):
        _open(tmp_path / "r", config={**CONFIG, "epochs": 5})


def test_a_run_of_another_command_is_refused(tmp_path: Path) -> None:
    Run.open(tmp_path / "r", id="r", command="train", config=CONFIG).close()
    with pytest.raises(ConfigError, match="was made by `compress train`"):
        _open(tmp_path / "r")


def test_restart_removes_what_was_there(tmp_path: Path) -> None:
    folder = _complete(tmp_path / "r")
    with opened(_open(folder, config={**CONFIG, "epochs": 5}, restart=True)) as run:
        run.begin()
    assert sorted(entry.name for entry in folder.iterdir()) == ["lock", "manifest.json"]
    assert runs.read_manifest(folder).config["epochs"] == 5


def _restart_and_fail(folder: Path, error: Exception, work: Callable[[Run], object]) -> None:
    with opened(_open(folder, config={**CONFIG, "epochs": 5}, restart=True)) as run:
        work(run)
        raise error


def test_a_restart_that_fails_before_it_begins_leaves_the_old_run(tmp_path: Path) -> None:
    folder = _complete(tmp_path / "r")
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    with pytest.raises(InputError, match="no teacher"):
        _restart_and_fail(folder, InputError("no teacher"), lambda run: run.choose("n", int))
    after = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    assert after == before
    assert runs.complete_run(folder).config == CONFIG


def test_a_restart_that_fails_later_is_a_failed_run(tmp_path: Path) -> None:
    folder = _complete(tmp_path / "r")
    with pytest.raises(ValueError, match="boom"):
        _restart_and_fail(folder, ValueError("boom"), Run.begin)
    assert runs.read_manifest(folder).status == "failed"


@pytest.mark.parametrize("restart", [False, True])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, restart: bool) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"holds photo\.jpg and is no run"):
        _open(tmp_path, restart=restart)
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_run_killed_while_it_began_can_begin_again(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / ".manifest.json.k3j2.part").write_text('{"sch')
    _open(tmp_path).close()
    assert runs.read_manifest(tmp_path).status == "running"


def test_a_failure_is_written_down(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boom"), opened(_open(tmp_path / "r")):
        raise ValueError("boom")
    manifest = runs.read_manifest(tmp_path / "r")
    assert (manifest.status, manifest.reason) == ("failed", "boom")


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Interrupted("stopped after epoch 2")])
def test_an_interruption_is_written_down(tmp_path: Path, stop: BaseException) -> None:
    with pytest.raises(type(stop)), opened(_open(tmp_path / "r")):
        raise stop
    assert runs.read_manifest(tmp_path / "r").status == "interrupted"


def test_taking_up_a_failed_run_makes_it_running_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boom"), opened(_open(tmp_path / "r")):
        raise ValueError("boom")
    _open(tmp_path / "r").close()
    manifest = runs.read_manifest(tmp_path / "r")
    assert (manifest.status, manifest.reason) == ("running", None)


def test_a_failure_in_a_complete_run_leaves_it_complete(tmp_path: Path) -> None:
    folder = _complete(tmp_path / "r")
    with pytest.raises(InputError, match="changed"), opened(_open(folder)):
        raise InputError("the teacher changed")
    assert runs.complete_run(folder).status == "complete"


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_only_complete_runs_are_used(tmp_path: Path, status: Any) -> None:
    run = _open(tmp_path / "r")
    run.update(status=status, reason="loss is NaN" if status == "failed" else None)
    run.close()
    expected = f"is {status}" + (": loss is NaN" if status == "failed" else "")
    with pytest.raises(InputError, match=expected):
        runs.complete_run(tmp_path / "r")


def test_complete_lists_every_result_with_its_sha256(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    with opened(_open(folder)) as run:
        for name in ("epochs.jsonl", "last.pt", "students/a.safetensors", "plots/loss.png"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(name.encode())
        run.finish("complete")
    artifacts = runs.complete_run(folder).artifacts
    assert sorted(artifacts) == ["epochs.jsonl", "students/a.safetensors"]
    name = "students/a.safetensors"
    assert artifacts[name].sha256 == hashlib.sha256(name.encode()).hexdigest()
    assert artifacts[name].size_bytes == len(name)


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    folder = _complete(tmp_path / "r")
    manifest = runs.complete_run(folder)
    name = "students/a.safetensors"
    assert runs.checked_file(folder, manifest, name).read_bytes() == b"weights"
    (folder / name).write_bytes(b"weightz")
    with pytest.raises(InputError, match="differs from its manifest"):
        runs.checked_file(folder, manifest, name)
    (folder / name).unlink()
    with pytest.raises(InputError, match="cannot read"):
        runs.checked_file(folder, manifest, name)
    with pytest.raises(InputError, match=r"has no b\.safetensors"):
        runs.checked_file(folder, manifest, "b.safetensors")


def test_an_input_that_changed_since_the_run_began_is_refused(tmp_path: Path) -> None:
    with opened(_open(tmp_path / "r")) as run:
        run.pin("teacher", "t.pt", "a" * 64)
    with opened(_open(tmp_path / "r")) as run:
        run.pin("teacher", "elsewhere/t.pt", "a" * 64)
        with pytest.raises(InputError, match=r"teacher t\.pt changed since the run began"):
            run.pin("teacher", "t.pt", "b" * 64)


def test_a_choice_is_made_once_in_a_life(tmp_path: Path) -> None:
    with opened(_open(tmp_path / "r")) as run:
        assert run.choose("threads", lambda: 2) == 2
    with opened(_open(tmp_path / "r")) as run:
        assert run.choose("threads", lambda: pytest.fail("decided twice")) == 2


def test_an_epoch_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    with opened(_open(tmp_path / "r")) as run:
        run.write_epochs([_epoch(1), _epoch(2)])
        path = tmp_path / "r" / "epochs.jsonl"
        path.write_text(path.read_text()[:-20])
        assert [record.epoch for record in runs.read_epochs(tmp_path / "r")] == [1]


def test_a_run_is_found_by_path_by_id_and_as_the_newest(tmp_path: Path) -> None:
    old = _complete(tmp_path / "old", age_seconds=100)
    new = _complete(tmp_path / "new")
    assert runs.find_run(str(old), tmp_path / "nowhere") == old
    assert runs.find_run("old", tmp_path) == old
    assert runs.find_run("last", tmp_path) == new
    assert runs.all_runs(tmp_path) == [new, old]


def test_last_does_not_mean_the_run_that_is_being_made(workspace: Path) -> None:
    older = _complete(runs.RUNS / "older")
    newer = _open(runs.RUNS / "newer")
    assert runs.find_run("last") == newer.folder
    assert runs.find_run("last", besides=newer.folder.resolve()) == older
    newer.close()


def test_last_may_mean_the_newest_run_of_one_command(tmp_path: Path) -> None:
    students = _complete(tmp_path / "students", age_seconds=100)
    Run.open(tmp_path / "teacher", id="teacher", command="train", config=CONFIG).close()
    (_complete(tmp_path / "broken") / "manifest.json").write_text("{")
    assert runs.find_run("last", tmp_path, command="distill") == students
    assert runs.find_run("last", tmp_path, command="train") == tmp_path / "teacher"


def test_without_a_run_of_its_command_last_names_that_command(tmp_path: Path) -> None:
    _complete(tmp_path / "students")
    with pytest.raises(InputError, match="no run of `compress train` under") as caught:
        runs.find_run("last", tmp_path, command="train")
    assert caught.value.hint == "make one with `compress train`"


def test_taking_up_a_run_does_not_make_it_the_newest(tmp_path: Path) -> None:
    old = _complete(tmp_path / "old", age_seconds=100)
    _complete(tmp_path / "new")
    _open(old).close()
    assert runs.find_run("last", tmp_path).name == "new"


def test_a_run_stays_the_newest_beside_one_made_on_its_behalf(tmp_path: Path) -> None:
    with opened(_open(tmp_path / "students")) as run:
        os.utime(tmp_path / "students" / "lock", (0, 0))
        _complete(tmp_path / "teacher", age_seconds=1)
        assert runs.find_run("last", tmp_path).name == "teacher"
        run.renew()
    assert runs.find_run("last", tmp_path).name == "students"


def test_a_copied_run_without_its_lock_is_still_found(tmp_path: Path) -> None:
    (_complete(tmp_path / "copy") / "lock").unlink()
    assert runs.find_run("last", tmp_path) == tmp_path / "copy"


def test_a_run_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run 'gone'"):
        runs.find_run("gone", tmp_path)
    with pytest.raises(InputError, match="no run under"):
        runs.find_run("last", tmp_path)
    assert not runs.is_run("gone", tmp_path)


@pytest.mark.parametrize("content", ["", "{", '{"schema": 99}', "[]"])
def test_an_unreadable_manifest_is_an_input_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json"):
        runs.read_manifest(tmp_path)


def test_an_artifact_is_said_to_be_no_run(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schema": 1, "label": "small", "card": {}}')
    with pytest.raises(InputError, match="is an exported artifact, not a run") as caught:
        runs.read_manifest(tmp_path)
    assert "it was exported from" in caught.value.hint


def test_newest_complete_skips_unfinished_and_unreadable_runs(tmp_path: Path) -> None:
    wanted = _complete(tmp_path / "good", age_seconds=100)
    _open(tmp_path / "unfinished").close()
    (_complete(tmp_path / "broken") / "manifest.json").write_text("{")
    found = runs.newest_complete(lambda _: True, tmp_path)
    assert found is not None
    assert found[0] == wanted
    assert runs.newest_complete(lambda m: m.command == "train", tmp_path) is None


def test_an_unwritable_place_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        _open(tmp_path / "file" / "run")


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    with opened(_open(tmp_path / "r")) as run:
        half = run.folder / "students" / ".a.safetensors.x1y2.part"
        half.parent.mkdir()
        half.write_bytes(b"half")
    with opened(_open(tmp_path / "r")):
        assert not half.exists()


def test_hidden_files_are_no_part_of_what_a_run_made(tmp_path: Path) -> None:
    with opened(_open(tmp_path / "r")) as run:
        (run.folder / "students").mkdir()
        for name in ("a.safetensors", ".tmp1D0GMa", ".DS_Store"):
            (run.folder / "students" / name).write_bytes(b"x")
        run.finish("complete")
    assert list(runs.read_manifest(tmp_path / "r").artifacts) == ["students/a.safetensors"]


def test_the_time_of_earlier_processes_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 107.5])
    monkeypatch.setattr("compress.runs.time.monotonic", lambda: next(clock))
    run = _open(tmp_path / "r")
    run.seconds_before = 30.0
    assert run.seconds == 37.5


def test_a_rank_that_does_not_see_the_first_ranks_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this rank does not see") as caught:
        Run.follow(tmp_path / "run")
    assert "a file system they share" in caught.value.hint
