"""The folder that a measurement elsewhere has there, with an `ssh` that stays on this machine."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from compress.errors import MachineError
from compress.progress import Silent
from compress.stages import remote


@pytest.fixture
def loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `ssh` that runs everything here; where its temporary folders are made."""
    programs, temporary = tmp_path / "programs", tmp_path / "temporary"
    for folder in (programs, temporary):
        folder.mkdir()
    ssh = programs / "ssh"
    # a greeting in Latin-1, as start-up files of an old board have it
    ssh.write_text("#!/bin/sh\nfor last; do :; done\nprintf 'Gr\\374\\337e\\n'\neval \"$last\"\n")
    ssh.chmod(0o755)
    (programs / "scp").symlink_to(ssh)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(temporary))
    return temporary


def another_version(place: Path) -> Path:
    """An interpreter that is new enough and has an old package."""
    place.write_text('#!/bin/sh\nif [ "$1" = -c ]; then exit 0; fi\necho 0.0.1\n')
    place.chmod(0o755)
    return place


def test_a_folder_is_made_there_for_a_while(loopback: Path) -> None:
    with remote.connected(f"device:{sys.executable}", Silent()) as connection:
        assert Path(connection.folder).parent == loopback
        assert Path(connection.folder).is_dir()
        assert "ServerAliveInterval=15" in connection.options
    assert list(loopback.iterdir()) == []


def test_another_version_leaves_nothing_behind(loopback: Path, tmp_path: Path) -> None:
    python = another_version(tmp_path / "python")
    with (
        pytest.raises(MachineError, match=r"has compress-edge 0\.0\.1, this is"),
        remote.connected(f"device:{python}", Silent()),
    ):
        pass
    assert list(loopback.iterdir()) == []


def test_a_host_where_no_folder_can_be_made_says_so(
    loopback: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(loopback.parent))
    monkeypatch.setenv("TMPDIR", str(loopback / "gone"))
    with (
        pytest.raises(MachineError, match=r"cannot make a folder on device: .*gone"),
        remote.connected(f"device:{sys.executable}", Silent()),
    ):
        pass
