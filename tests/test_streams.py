"""Streams that cannot be written: their reader left, or their disk is full."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from compress.streams import Messages

OPEN = Path("/proc/self/fd")


@pytest.fixture(params=["left", "full", "full and unbuffered"])
def lost(request: pytest.FixtureRequest) -> Iterator[Messages]:
    """Where no message can be written."""
    if request.param == "left":
        reader, place = os.pipe()
        os.close(reader)
    else:
        place = os.open("/dev/full", os.O_WRONLY)
    buffering = 0 if "unbuffered" in request.param else -1
    with Messages(os.fdopen(place, "wb", buffering), line_buffering=True) as stream:
        yield stream


def test_a_line_is_written_at_once(tmp_path: Path) -> None:
    with Messages((tmp_path / "file").open("wb"), line_buffering=True) as stream:
        assert stream.write("a line\n") == 7
        assert (tmp_path / "file").read_text() == "a line\n"


def test_where_nobody_listens_nothing_fails_then_or_later(lost: Messages) -> None:
    before = len(list(OPEN.iterdir()))
    assert lost.write("a line\n") == 7
    print("another", file=lost)
    print("a third", end="", file=lost, flush=True)
    assert len(list(OPEN.iterdir())) == before


def test_what_is_held_back_is_no_failure_later(lost: Messages) -> None:
    assert lost.write("a line without its end") == 22
    lost.flush()
    lost.close()


def test_a_disk_that_has_room_again_gets_what_follows(tmp_path: Path) -> None:
    """What was lost meanwhile is lost."""
    place = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    full = os.open("/dev/full", os.O_WRONLY)
    kept = os.dup(place)
    with Messages(os.fdopen(place, "wb", 0), line_buffering=True) as stream:
        os.dup2(full, place)
        assert stream.write("lost\n") == 5
        os.dup2(kept, place)
        stream.write("said\n")
    for number in (full, kept):
        os.close(number)
    assert (tmp_path / "log").read_text().endswith("said\n")


def test_other_failures_are_told(lost: Messages) -> None:
    lost.close()
    with pytest.raises(ValueError, match="closed file"):
        lost.write("a line")
