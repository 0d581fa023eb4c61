"""Artifact folders are written whole or not at all, and replaced only when that is meant."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from compress.errors import ConfigError, InputError
from compress.stages.export_folder import check_free, replacing
from compress.stages.export_sources import Source
from tests.trained_run import exported_workspace

SOURCE = Source(
    label="small_cnn",
    role="student",
    networks=(),
    headers=(),
    weights_sha256="w" * 64,
    run="digits-test-01234567",
    run_sha256="r" * 64,
    licence="",
)


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """The artifact of `SOURCE`'s run."""
    place = exported_workspace() / "exported" / "digits-test-01234567" / "small_cnn"
    return Path(shutil.copytree(place, tmp_path / "exported" / "small_cnn"))


def test_a_free_place_and_an_artifact_of_the_same_run_may_be_written(artifact: Path) -> None:
    check_free(artifact.parent / "other", SOURCE, force=False)
    check_free(artifact, SOURCE, force=False)
    (artifact.parent / "empty").mkdir()
    check_free(artifact.parent / "empty", SOURCE, force=False)


def test_an_artifact_of_another_run_needs_force(artifact: Path) -> None:
    other = replace(SOURCE, run="another-run")
    with pytest.raises(ConfigError, match="an artifact of run digits-test-01234567") as caught:
        check_free(artifact, other, force=False)
    assert "--force" in caught.value.hint
    check_free(artifact, other, force=True)


def test_an_artifact_of_other_weights_needs_force(artifact: Path) -> None:
    manifest = json.loads((artifact / "manifest.json").read_text())
    digest = manifest["card"]["weights_sha256"]
    (artifact / "manifest.json").write_text(json.dumps({**manifest, "run": None}))
    alone = replace(SOURCE, run=None, weights_sha256=digest)
    check_free(artifact, alone, force=False)
    with pytest.raises(ConfigError, match="another weights file"):
        check_free(artifact, replace(alone, weights_sha256="0" * 64), force=False)


def test_a_damaged_artifact_needs_force(artifact: Path) -> None:
    (artifact / "manifest.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        check_free(artifact, SOURCE, force=False)
    check_free(artifact, SOURCE, force=True)


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("x")
    for force in (False, True):
        with pytest.raises(ConfigError, match=r"me\.jpg and is no artifact"):
            check_free(tmp_path / "photos", SOURCE, force=force)
    with pytest.raises(InputError, match="is a file"):
        check_free(tmp_path / "photos" / "me.jpg", SOURCE, force=True)


def test_a_manifest_of_something_else_makes_no_artifact(tmp_path: Path) -> None:
    """Web pages and runs have a `manifest.json` too; --force must not take theirs."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"name": "my app"}')
    (tmp_path / "app" / "app.js").write_text("x")
    for force in (False, True):
        with pytest.raises(ConfigError, match=r"app\.js and is no artifact") as caught:
            check_free(tmp_path / "app", SOURCE, force=force)
        assert "--force" not in caught.value.hint


def test_a_folder_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "exported" / "net"
    with replacing(place) as part:
        (part / "a").write_text("1")
        assert not place.exists()
    assert (place / "a").read_text() == "1"
    assert names(place.parent) == ["net"]
    assert place.stat().st_mode & 0o777 == 0o755


def test_an_earlier_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    place = tmp_path / "net"
    place.mkdir()
    (place / "model.onnx").write_text("1")
    with replacing(place) as part:
        (part / "model.int8.onnx").write_text("2")
        assert (place / "model.onnx").exists()
    assert names(place) == ["model.int8.onnx"]
    assert names(tmp_path) == ["net"]


def test_what_a_user_laid_beside_the_artifact_stays(artifact: Path) -> None:
    """The manifest tells what is the artifact's: here one unusual name is, and model.ort is not."""
    manifest = json.loads((artifact / "manifest.json").read_text())
    listed = {**manifest["files"], "extra.bin": manifest["files"]["labels.txt"]}
    del listed["model.ort"]
    (artifact / "manifest.json").write_text(json.dumps({**manifest, "files": listed}))
    (artifact / "extra.bin").write_text("the artifact's")
    (artifact / "classify.py").write_text("print('mine')")
    (artifact / "model.ort").write_text("mine")
    (artifact / "latest").symlink_to("classify.py")
    (artifact / "notes" / "deep").mkdir(parents=True)
    (artifact / "notes" / "deep" / "bench.json").write_text("[1]")
    (artifact / "notes").chmod(0o750)
    with replacing(artifact) as part:
        (part / "model.onnx").write_text("new")
    assert names(artifact) == ["classify.py", "latest", "model.onnx", "model.ort", "notes"]
    assert (artifact / "classify.py").read_text() == "print('mine')"
    assert (artifact / "latest").readlink() == Path("classify.py")
    assert (artifact / "notes" / "deep" / "bench.json").read_text() == "[1]"
    assert (artifact / "notes").stat().st_mode & 0o777 == 0o750
    assert names(artifact.parent) == ["small_cnn"]


def test_a_name_the_new_artifact_has_is_the_artifacts(artifact: Path) -> None:
    (artifact / "extra.bin").write_text("mine")
    with replacing(artifact) as part:
        (part / "extra.bin").write_text("new")
    assert (artifact / "extra.bin").read_text() == "new"


def test_without_a_readable_manifest_only_known_names_are_the_artifacts(tmp_path: Path) -> None:
    place = tmp_path / "net"
    place.mkdir()
    for name in ("manifest.json", "model.onnx", "model.int8.ort", "labels.txt", "photo.jpg"):
        (place / name).write_text("{")
    check_free(place, SOURCE, force=True)
    with replacing(place) as part:
        (part / "model.onnx").write_text("new")
    assert names(place) == ["model.onnx", "photo.jpg"]


def test_files_are_copied_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    (tmp_path / "net" / "notes").mkdir(parents=True)
    (tmp_path / "net" / "notes" / "a.txt").write_text("mine")
    monkeypatch.setattr(os, "link", refused)
    with replacing(tmp_path / "net") as part:
        (part / "model.onnx").write_text("new")
    assert (tmp_path / "net" / "notes" / "a.txt").read_text() == "mine"


def test_a_file_that_cannot_be_carried_over_stops_the_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def replace_it() -> None:
        with replacing(tmp_path / "net") as part:
            (part / "model.onnx").write_text("new")

    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "notes.txt").write_text("mine")
    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(InputError, match="No space left"):
        replace_it()
    assert names(tmp_path) == ["net"]
    assert names(tmp_path / "net") == ["notes.txt"]


@pytest.mark.parametrize(
    ("step", "model"),
    [("os.link", "old"), ("rename 1", "old"), ("rename 2", "old"), ("shutil.rmtree", "new")],
)
def test_killed_at_any_step_it_loses_neither_an_artifact_nor_a_users_file(
    tmp_path: Path, step: str, model: str
) -> None:
    code = (
        "import os, shutil, signal, sys\n"
        "from pathlib import Path\n"
        "from compress.stages.export_folder import replacing\n"
        "step, really, moves = sys.argv[2], Path.replace, []\n"
        "def die(*_, **__):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "def moved(self, target):\n"
        "    moves.append(target)\n"
        "    return die() if step == f'rename {len(moves)}' else really(self, target)\n"
        "Path.replace = moved\n"
        "if step == 'os.link':\n"
        "    os.link = die\n"
        "with replacing(Path(sys.argv[1])) as part:\n"
        "    (part / 'model.onnx').write_text('new')\n"
        "    if step == 'shutil.rmtree':\n"
        "        shutil.rmtree = die\n"
    )
    place = tmp_path / "net"
    place.mkdir()
    (place / "model.onnx").write_text("old")
    (place / "classify.py").write_text("mine")
    done = subprocess.run([sys.executable, "-c", code, str(place), step], check=False)
    assert done.returncode == -9
    with replacing(place) as part:
        assert (place / "model.onnx").read_text() == model
        assert (place / "classify.py").read_text() == "mine"
        (part / "model.onnx").write_text("newer")
    assert names(tmp_path) == ["net"]
    assert names(place) == ["classify.py", "model.onnx"]
    assert (place / "classify.py").read_text() == "mine"


def test_nobody_can_start_between_the_two_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts waits for the lock of the folder above, then brings back what was replaced."""
    (tmp_path / "net").mkdir()
    really, free = Path.replace, []

    def watched(self: Path, target: Path) -> Path:
        handle = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free.append(True)
        except BlockingIOError:
            free.append(False)
        finally:
            os.close(handle)
        return really(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    with replacing(tmp_path / "net"):
        pass
    assert free == [False, False]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("x")])
def test_after_a_failure_the_earlier_folder_is_untouched(
    tmp_path: Path, error: BaseException
) -> None:
    place = tmp_path / "net"
    place.mkdir()
    (place / "old").write_text("1")

    def fail() -> None:
        with replacing(place) as part:
            (part / "new").write_text("2")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert names(place) == ["old"]
    assert names(tmp_path) == ["net"]


def test_what_a_killed_process_was_replacing_comes_back(tmp_path: Path) -> None:
    """Killed between its two renames, it leaves the old artifact under a hidden name."""
    hidden = tmp_path / ".net.abc12_3z.old"
    hidden.mkdir()
    (hidden / "model.onnx").write_text("old")
    with replacing(tmp_path / "net") as part:
        assert (tmp_path / "net" / "model.onnx").read_text() == "old"
        (part / "model.onnx").write_text("new")
    assert names(tmp_path) == ["net"]
    assert (tmp_path / "net" / "model.onnx").read_text() == "new"


@pytest.mark.parametrize("exists", [False, True])
def test_what_is_left_of_a_longer_label_is_left_alone(tmp_path: Path, exists: bool) -> None:
    """`--sweep alpha=0,0.5` gives the labels net-a0 and net-a0.5."""
    left = [".net-a0.5.abc12_3z.old", ".net-a0.5.abc12_3z.part"]
    for name in left:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_text("half")
    if exists:
        (tmp_path / "net-a0").mkdir()
    with replacing(tmp_path / "net-a0") as part:
        (part / "model.onnx").write_text("zero")
    assert names(tmp_path) == [*left, "net-a0"]
    with replacing(tmp_path / "net-a0.5"):
        assert (tmp_path / "net-a0.5" / "model.onnx").read_text() == "half"
    assert names(tmp_path) == ["net-a0", "net-a0.5"]


def test_what_a_killed_process_was_filling_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from compress.stages.export_folder import replacing\n"
        "with replacing(Path(sys.argv[1])) as part:\n"
        "    (part / 'model.onnx').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "net")], check=False)
    (left,) = names(tmp_path)
    assert left.startswith(".net.")
    assert left.endswith(".part")
    with replacing(tmp_path / "other"):
        assert left in names(tmp_path)
    with replacing(tmp_path / "net"):
        assert left not in names(tmp_path)
    assert names(tmp_path) == ["net", "other"]


def test_what_another_process_is_filling_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from compress.stages.export_folder import replacing\n"
        "with replacing(Path(sys.argv[1])) as part:\n"
        "    (part / 'model.onnx').write_text('theirs')\n"
        "    print('filling', flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "net")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "filling\n"
        with replacing(tmp_path / "net") as part:
            (part / "model.onnx").write_text("ours")
        assert len(names(tmp_path)) == 2
        other.communicate("\n")
    assert other.returncode == 0
    assert names(tmp_path) == ["net"]
    assert (tmp_path / "net" / "model.onnx").read_text() == "theirs"


def test_ctrl_c_between_the_renames_brings_the_earlier_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "net"
    place.mkdir()
    (place / "model.onnx").write_text("old")
    really, moves = Path.replace, []

    def interrupted(self: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == 2:
            raise KeyboardInterrupt
        return really(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing(place) as part:
        (part / "model.onnx").write_text("new")
    assert names(tmp_path) == ["net"]
    assert (place / "model.onnx").read_text() == "old"


def test_what_a_link_names_is_replaced_and_not_the_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "net").mkdir(parents=True)
    (tmp_path / "net").symlink_to(tmp_path / "disk" / "net")
    with replacing(tmp_path / "net") as part:
        (part / "model.onnx").write_text("new")
    assert (names(tmp_path / "disk" / "net"), names(tmp_path / "disk")) == (["model.onnx"], ["net"])
    assert (tmp_path / "net").is_symlink()


def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    def fill() -> None:
        with replacing(tmp_path / "net"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match=r"cannot write .*net: No space left") as caught:
        fill()
    assert "free some space" in caught.value.hint
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["file/net", "loop"])
def test_a_place_that_cannot_be_made_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="cannot write"), replacing(tmp_path / place):
        pass
