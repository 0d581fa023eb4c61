"""A run that `--restart` replaces survives until the new one begins, whenever the process dies."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from compress import replaced, runs
from compress.errors import InputError
from compress.runs import Run, opened

OLD: dict[str, Any] = {"data": "digits", "epochs": 3}
NEW: dict[str, Any] = {"data": "digits", "epochs": 5}
TOUCHING = (
    (Path, "mkdir"),
    (Path, "rename"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "rmdir"),
    (shutil, "rmtree"),
)
"""Everything by which these steps change a folder."""


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def killed_at(number: int) -> Iterator[list[int]]:
    """End the process right before a change of a folder, counted from 1; 0 is never.

    Yields:
        Holds how many changes there were.
    """
    seen = [0]

    def before(change: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            seen[0] += 1
            if seen[0] == number:
                raise Killed
            return change(*arguments, **options)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        for place, name in TOUCHING:
            patch.setattr(place, name, before(getattr(place, name)))
        yield seen


def begun(folder: Path, config: dict[str, Any], *, restart: bool) -> Run:
    return Run.open(folder, id=folder.name, command="train", config=config, restart=restart)


def old_run(folder: Path) -> dict[str, bytes]:
    """A complete run, and its content."""
    with opened(begun(folder, OLD, restart=False)) as run:
        for name in ("epochs.jsonl", "students/a.safetensors", "predictions/a.npz", "last.pt"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(name.encode())
        run.finish("complete")
    return content(folder)


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a run by its name; what was being written when the process died is no file."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock" and path.suffix != ".part"
    }


def restart_in_vain(folder: Path) -> None:
    """`--restart`, and the teacher is not there."""
    with pytest.raises(InputError, match="no teacher"), opened(begun(folder, NEW, restart=True)):
        raise InputError("no teacher")


def changes_of(work: Callable[[Path], None], folder: Path) -> int:
    """How often a process that does some work changes a folder with the old run in it."""
    old_run(folder)
    with killed_at(0) as seen:
        work(folder)
    return seen[0]


def test_a_restart_in_vain_leaves_the_old_run_whenever_it_is_killed(tmp_path: Path) -> None:
    last = changes_of(restart_in_vain, tmp_path / "count")
    assert last > 15, "the manifest, four entries and the folder leave and come back"
    for number in range(1, last + 1):
        folder = tmp_path / f"killed-{number}"
        before = old_run(folder)
        with killed_at(number), pytest.raises(Killed):
            restart_in_vain(folder)
        restart_in_vain(folder)
        assert content(folder) == before, number
        assert not replaced.waits(folder)


def test_it_may_be_killed_again_while_that_is_mended(tmp_path: Path) -> None:
    last = changes_of(restart_in_vain, tmp_path / "count")
    for first in range(1, last + 1, 2):
        for second in range(1, last + 1, 3):
            folder = tmp_path / f"killed-{first}-{second}"
            before = old_run(folder)
            with killed_at(first), pytest.raises(Killed):
                restart_in_vain(folder)
            with killed_at(second), suppress(Killed):
                restart_in_vain(folder)
            restart_in_vain(folder)
            assert content(folder) == before, (first, second)


def restart(folder: Path) -> None:
    """`--restart` with everything there: the new run begins and writes a file."""
    with opened(begun(folder, NEW, restart=True)) as run:
        run.begin()
        (folder / "new").touch()


def test_a_restart_that_is_killed_and_repeated_leaves_nothing_of_the_old_run(
    tmp_path: Path,
) -> None:
    last = changes_of(restart, tmp_path / "count")
    for number in range(1, last + 1):
        folder = tmp_path / f"killed-{number}"
        old_run(folder)
        with killed_at(number), pytest.raises(Killed):
            restart(folder)
        restart(folder)
        names = {entry.name for entry in folder.iterdir() if entry.suffix != ".part"}
        assert names == {"lock", "manifest.json", "new"}, number
        assert runs.read_manifest(folder).config == NEW


def test_a_run_that_has_begun_stays_whenever_its_beginning_was_killed(tmp_path: Path) -> None:
    """A failure afterwards is its own: what it replaced is gone from the first moment on."""

    def beginning(folder: Path) -> None:
        with opened(begun(folder, NEW, restart=True)) as run, killed_at(2):
            run.begin()

    folder = tmp_path / "run"
    old_run(folder)
    with pytest.raises(Killed):
        beginning(folder)
    with pytest.raises(ValueError, match="boom"), opened(begun(folder, NEW, restart=False)):
        raise ValueError("boom")
    manifest = runs.read_manifest(folder)
    assert (manifest.config, manifest.status) == (NEW, "failed")
    assert sorted(entry.name for entry in folder.iterdir()) == ["lock", "manifest.json"]


@pytest.mark.parametrize("moved", ["manifest.json", "students"])
def test_what_an_older_version_left_half_moved_comes_back(tmp_path: Path, moved: str) -> None:
    """It moved entries straight to `.replaced`, in the order of the folder."""
    folder = tmp_path / "run"
    before = old_run(folder)
    aside = folder / replaced.REPLACED
    aside.mkdir()
    for name in dict.fromkeys(("manifest.json", moved)):
        (folder / name).rename(aside / name)
    restart_in_vain(folder)
    assert content(folder) == before


def test_without_restart_the_old_run_is_there_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    before = old_run(folder)
    with killed_at(5), pytest.raises(Killed):
        restart(folder)
    assert not (folder / "manifest.json").exists()
    begun(folder, OLD, restart=False).close()
    assert content(folder) == before


def test_a_folder_without_a_run_has_nothing_to_put_aside(tmp_path: Path) -> None:
    replaced.put_aside(tmp_path, manifest="manifest.json", lock="lock")
    assert list(tmp_path.iterdir()) == []
    assert not replaced.bring_back(tmp_path, manifest="manifest.json")


def test_a_place_that_cannot_be_written_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_run(tmp_path / "run")

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(InputError, match="cannot write"):
        begun(tmp_path / "run", NEW, restart=True)
