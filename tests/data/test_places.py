"""Where data lie on this machine."""

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
