"""A file appears whole under its name, or not at all."""

import errno
import hashlib
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from compress.errors import InputError
from compress.files import (
    atomic_path,
    seen_from,
    sha256_file,
    write_bytes,
    write_error,
    write_text,
)


@contextmanager
def tiny_disk(size: int) -> Iterator[None]:
    """No file may grow past a size: the kernel refuses as a full disk does.

    A block and not a fixture: pytest writes its own progress, to a file too, while fixtures live.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_written_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "α = 0.9\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xce\xb1 = 0.9\n"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x" / "y" / "a.bin", b"1")
    assert (tmp_path / "x" / "y" / "a.bin").read_bytes() == b"1"


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a.bin", b"1")
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o644


def test_a_failure_leaves_the_old_file_and_no_remains(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with atomic_path(path) as part:
            part.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail_half_way()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_final_name_does_not_exist_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_path(path) as part:
        part.write_text("all of it")
        assert not path.exists()
        assert part.parent == path.parent
    assert path.read_text() == "all of it"


def test_full_disk_is_an_input_error_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with tiny_disk(4096), pytest.raises(InputError, match=r"cannot write .*a\.bin: File too large"):
        write_bytes(path, b"x" * 4097)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space and run the same command again"),
        (errno.EDQUOT, "free some space and run the same command again"),
        (errno.EACCES, "choose another place, or change its permissions"),
    ],
)
def test_hint_fits_the_reason(number: int, hint: str) -> None:
    error = write_error(Path("out/a.onnx"), OSError(number, "Reason"))
    assert error.message == "cannot write out/a.onnx: Reason"
    assert error.hint == hint


def test_a_file_in_the_way_of_a_folder_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_bytes(tmp_path / "file" / "a.bin", b"1")


def test_sha256_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_sha256_of_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*gone: No such file"):
        sha256_file(tmp_path / "gone")


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    write_text(tmp_path / "link.json", "new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    write_text(Path("/dev/null"), "new")
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no memory is mounted there")
def test_memory_that_looks_like_a_folder_is_one() -> None:
    with TemporaryDirectory(dir="/dev/shm") as name:
        write_text(Path(name) / "sub" / "a.json", "new")
        assert (Path(name) / "sub" / "a.json").read_text() == "new"


def test_a_loop_of_links_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InputError, match="cannot write"):
        write_text(tmp_path / "a", "new")
    with pytest.raises(InputError, match="cannot write"):
        write_text(tmp_path / ("x" * 300), "new")


def test_what_a_run_names_is_found_from_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, weights = tmp_path / "project" / "runs" / "a", tmp_path / "project" / "teacher.pt"
    run.mkdir(parents=True)
    weights.write_bytes(b"w")
    monkeypatch.chdir(tmp_path)
    assert seen_from(run, "teacher.pt") == weights
    assert seen_from(run, "gone.pt") == Path("gone.pt")
    scratch = tmp_path / "scratch"
    (run.parent).rename(scratch)
    run.parent.symlink_to(scratch)
    assert seen_from(run, "teacher.pt") == weights, "also where runs/ is a link"
    assert seen_from(run, str(weights)) == weights
    Path("teacher.pt").write_bytes(b"here")
    assert seen_from(run, "teacher.pt") == Path("teacher.pt"), "as it was named counts first"
    assert seen_from(run, "teacher.pt", sha256=sha256_file(weights)) == weights
    assert seen_from(run, "teacher.pt", sha256="0" * 64) == Path("teacher.pt")
    assert seen_from(run, "gone.pt", sha256="0" * 64) == Path("gone.pt")
