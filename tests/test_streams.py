"""Streams whose reader leaves."""

import os
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

import pytest

from compress.streams import write

OPEN = Path("/proc/self/fd")


@pytest.fixture
def left() -> Iterator[TextIOWrapper]:
    """A pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        yield stream


def test_a_text_is_written_at_once(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream:
        write(stream, "a line\n")
        assert (tmp_path / "file").read_text() == "a line\n"


def test_where_nobody_reads_nothing_fails_then_or_later(left: TextIOWrapper) -> None:
    before = len(list(OPEN.iterdir()))
    write(left, "a line\n")
    write(left, "another\n")
    print("a third", file=left, flush=True)
    assert len(list(OPEN.iterdir())) == before


def test_other_failures_are_told(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream:
        stream.close()
        with pytest.raises(ValueError, match="closed file"):
            write(stream, "a line")
