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


def test_other_failures_are_told(lost: Messages) -> None:
    lost.close()
    with pytest.raises(ValueError, match="closed file"):
        lost.write("a line")
