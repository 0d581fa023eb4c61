"""Downloads from a server of our own: whole, verified, unpacked, or nothing."""

import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from compress.data import downloads
from compress.data.downloads import Archive, Checksum
from compress.errors import InputError
from compress.progress import Silent

FILES = {"set/a.bin": b"first" * 500_000, "set/b.bin": b"second", "set/readme.html": b"unwanted"}


def packed(files: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return memory.getvalue()


CONTENT = packed(FILES)
Serve = Callable[..., Archive]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a server for one answer: `serve(body, status=200, announced=None)`."""
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    servers: list[ThreadingHTTPServer] = []

    def start(body: bytes, status: int = 200, announced: int | None = None) -> Archive:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(announced or len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return Archive(
            f"http://127.0.0.1:{server.server_port}/set.tar.gz",
            Checksum("sha256", hashlib.sha256(CONTENT).hexdigest()),
            ("set/a.bin", "set/b.bin"),
        )

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def everything_in(folder: Path) -> list[str]:
    """All files but the lock, which stays for the next one to fetch."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if name != ".set.tar.gz.lock")


class Counting(Silent):
    """Remembers how far a task got."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def start(self, task: str, *, total: int, unit: str) -> None:
        self.total = total

    def advance(self, amount: int = 1, *, images: int = 0, **figures: float) -> None:
        self.done += amount


def test_a_download_leaves_the_wanted_files_alone(serve, tmp_path):
    downloads.fetch(serve(CONTENT), tmp_path, progress=Silent())
    assert everything_in(tmp_path) == ["set/a.bin", "set/b.bin"]
    assert (tmp_path / "set/a.bin").read_bytes() == FILES["set/a.bin"]


def test_what_a_killed_download_left_is_removed(serve, tmp_path):
    (tmp_path / ".set.tar.gz.k1ll3d00.part").write_bytes(CONTENT[:10])
    (tmp_path / ".other.tar.gz.k1ll3d00.part").write_bytes(b"not ours")
    downloads.fetch(serve(CONTENT), tmp_path, progress=Silent())
    assert everything_in(tmp_path) == [".other.tar.gz.k1ll3d00.part", "set/a.bin", "set/b.bin"]


def test_of_two_at_a_time_one_downloads_and_the_other_waits(serve, tmp_path, monkeypatch):
    """Each rank of a run looks for the data, finds none, and fetches it."""
    archive, download, fetched = serve(CONTENT), downloads._download, []

    def slowly(*arguments):
        time.sleep(0.2)
        fetched.append(arguments)
        download(*arguments)

    monkeypatch.setattr(downloads, "_download", slowly)
    with ThreadPoolExecutor(4) as pool:
        each = [pool.submit(downloads.fetch, archive, tmp_path, progress=Silent()) for _ in "1234"]
    assert [one.result() for one in each] == [None] * 4
    assert len(fetched) == 1
    assert everything_in(tmp_path) == ["set/a.bin", "set/b.bin"]


def test_a_download_shows_its_advance(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "CHUNK", 1024)
    counting = Counting()
    downloads.fetch(serve(CONTENT), tmp_path, progress=counting)
    assert counting.total == -(-len(CONTENT) // 1024)
    assert counting.done == counting.total


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"body": b"no", "status": 404}, "cannot download .*set.tar.gz: Not Found"),
        ({"body": CONTENT[:-20], "announced": len(CONTENT)}, "cannot download"),
        ({"body": CONTENT[:-1] + b"!"}, "differs from the published file"),
    ],
    ids=["refused", "cut", "altered"],
)
def test_a_bad_download_is_an_input_error_and_leaves_nothing(answer, message, serve, tmp_path):
    with pytest.raises(InputError, match=message):
        downloads.fetch(serve(**answer), tmp_path, progress=Silent())
    assert everything_in(tmp_path) == []


def test_without_a_network_the_way_around_is_named(tmp_path):
    closed = Archive("http://127.0.0.1:9/set.tar.gz", Checksum("md5", "0" * 32), ("set/a.bin",))
    with pytest.raises(InputError, match="cannot download") as caught:
        downloads.fetch(closed, tmp_path, progress=Silent())
    assert "--data-dir" in caught.value.hint
    assert "set.tar.gz" in caught.value.hint
    assert everything_in(tmp_path) == []


def test_a_server_that_falls_silent_is_no_unwritable_disk(tmp_path, monkeypatch):
    def silent(*_arguments: object, **_options: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib.request.urlopen", silent)
    archive = Archive("http://127.0.0.1:9/set.tar.gz", Checksum("md5", "0" * 32), ("set/a.bin",))
    with pytest.raises(InputError, match=r"cannot download .*: timed out") as caught:
        downloads.fetch(archive, tmp_path, progress=Silent())
    assert "--data-dir" in caught.value.hint


def test_an_archive_without_a_wanted_file_is_refused(tmp_path):
    content = packed({"set/a.bin": b"1"})
    path = tmp_path / "set.tar.gz"
    path.write_bytes(content)
    digest = Checksum("md5", hashlib.md5(content).hexdigest())
    archive = Archive("http://x/set.tar.gz", digest, ("set/a.bin", "set/b.bin"))
    with pytest.raises(InputError, match=r"cannot unpack .*set/b\.bin"):
        downloads.unpack(archive, path, tmp_path)


def test_verify_names_sizes_and_digests(tmp_path):
    path = tmp_path / "file"
    right = Checksum("md5", hashlib.md5(b"right").hexdigest())
    with pytest.raises(InputError, match="file is missing, expected 5 bytes"):
        downloads.verify(path, right, size=5)
    path.write_bytes(b"righ")
    with pytest.raises(InputError, match="file has 4 bytes, expected 5"):
        downloads.verify(path, right, size=5)
    path.write_bytes(b"wrong")
    with pytest.raises(InputError, match=hashlib.md5(b"wrong").hexdigest()):
        downloads.verify(path, right, size=5)
    path.write_bytes(b"right")
    downloads.verify(path, right, size=5)
    assert downloads.read_verified(path, right) == b"right"


def test_a_folder_in_the_place_of_a_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        downloads.verify(tmp_path, Checksum("md5", "0" * 32))
    with pytest.raises(InputError, match="cannot read"):
        downloads.read_verified(tmp_path, Checksum("md5", "0" * 32))
