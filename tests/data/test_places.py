"""Where data lie on this machine."""

import os
from pathlib import Path

import pytest

from compress.data import places


def test_a_place_is_remembered_until_another_takes_it(tmp_path: Path) -> None:
    assert places.remembered("pets") is None
    for name in ("a", "b"):
        places.remember("pets", tmp_path / name)
        assert places.remembered("pets") == tmp_path / name
    assert places.remembered("other") is None


def test_a_relative_place_is_remembered_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places.remember("pets", Path("pets"))
    assert places.remembered("pets") == tmp_path / "pets"


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "file"))
    places.remember("pets", tmp_path)
    assert places.remembered("pets") is None


def test_without_a_home_folder_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("COMPRESS_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    places.remember("pets", Path("pets"))
    assert places.remembered("pets") is None


def test_a_place_of_any_name_is_remembered(tmp_path: Path) -> None:
    """File systems take bytes that are no UTF-8."""
    folder = tmp_path / os.fsdecode(b"donn\xe9es")
    places.remember("pets", folder)
    assert places.remembered("pets") == folder
