"""Official files from the network: fetched whole, verified, and only then unpacked."""

import glob
import hashlib
import http.client
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Literal

from compress.errors import InputError
from compress.files import atomic_path
from compress.locks import alone
from compress.progress import Progress

CHUNK = 1 << 20
TIMEOUT_SECONDS = 30.0
Algorithm = Literal["md5", "sha256"]


@dataclass(frozen=True)
class Checksum:
    """A published digest of a file."""

    algorithm: Algorithm
    hex: str


@dataclass(frozen=True)
class Archive:
    """A .tar.gz with one folder in it.

    Attributes:
        url: Where it is published.
        checksum: Its published digest.
        members: The files to unpack, as paths inside the archive.
    """

    url: str
    checksum: Checksum
    members: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its file name."""
        return self.url.rpartition("/")[2]


def verify(path: Path, checksum: Checksum, *, size: int | None = None) -> None:
    """Check that a file is the published one, without holding it in memory.

    Args:
        path: The file.
        checksum: Its published digest.
        size: Its published size in bytes, where known: it makes the message of a cut file clearer.

    Raises:
        InputError: The file is missing, unreadable, of another size or altered.
    """
    try:
        found = path.stat().st_size
        if size is not None and found != size:
            raise InputError(f"{path} has {found} bytes, expected {size}", hint=_AGAIN)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, lambda: _hasher(checksum)).hexdigest()
    except FileNotFoundError as error:
        wanted = f", expected {size} bytes" if size is not None else ""
        raise InputError(f"{path} is missing{wanted}", hint=_AGAIN) from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    _compare(path, digest, checksum)


def read_verified(path: Path, checksum: Checksum) -> bytes:
    """Read a file that must be the published one: the very bytes that were compared.

    Raises:
        InputError: The file is missing, unreadable or altered.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing", hint=_AGAIN) from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    hasher = _hasher(checksum)
    hasher.update(content)
    _compare(path, hasher.hexdigest(), checksum)
    return content


def fetch(archive: Archive, folder: Path, *, progress: Progress) -> None:
    """Download an archive, compare it with its published digest, and unpack it into a folder.

    Of several processes that want it there, the ranks of one run for instance, one does so and the
    others wait for it.

    Raises:
        InputError: No network, a server's refusal, a cut or altered download, or a folder that
            cannot be written; nothing is left under a final name.
    """
    with alone(folder / f".{archive.name}.lock"):
        if all((folder / member).is_file() for member in archive.members):
            return
        _fetch(archive, folder, progress)


def _fetch(archive: Archive, folder: Path, progress: Progress) -> None:
    path = folder / archive.name
    for left in folder.glob(f".{glob.escape(archive.name)}.*.part"):
        left.unlink(missing_ok=True)  # of a download that was killed: nobody else is at work here
    with atomic_path(path) as part:
        try:
            _download(archive.url, part, progress)
        except (urllib.error.URLError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise InputError(
                f"cannot download {archive.url}: {reason}",
                hint=f"fetch it where there is a network, put {archive.name} or what it unpacks to "
                "in a folder, and name the folder with --data-dir or COMPRESS_DATA",
            ) from error
        verify(part, archive.checksum)
    unpack(archive, path, folder)
    path.unlink(missing_ok=True)


def unpack(archive: Archive, path: Path, folder: Path) -> None:
    """Verify an archive and unpack the files it is known to hold, each whole or not at all.

    Raises:
        InputError: The archive is altered or damaged, or the folder cannot be written.
    """
    verify(path, archive.checksum)
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in archive.members:
                stream = tar.extractfile(member)
                if stream is None:
                    raise InputError(f"{path}: {member} is not a file")
                with atomic_path(folder / member) as part, part.open("wb") as out:
                    while chunk := stream.read(CHUNK):
                        out.write(chunk)
    except (tarfile.TarError, KeyError, EOFError) as error:
        raise InputError(f"cannot unpack {path}: {error}", hint=_AGAIN) from error


def _opened(url: str) -> Any:
    """The answer to a request.

    Raises:
        URLError: There is none, also where urllib lets another error of the network through.
    """
    try:
        return urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.URLError:
        raise
    except OSError as error:
        raise urllib.error.URLError(error) from error


def _download(url: str, part: Path, progress: Progress) -> None:
    with _opened(url) as answer:
        total = int(answer.headers.get("Content-Length") or 0)
        progress.start(f"downloading {url}", total=-(-total // CHUNK), unit="MiB")
        received = 0
        with part.open("wb") as out:
            while chunk := _receive(answer):
                out.write(chunk)
                received += len(chunk)
                progress.advance()
    if received < total:
        raise http.client.IncompleteRead(b"", total - received)
    progress.finish(f"downloaded {received / 2**20:.0f} MiB from {url}")


def _receive(answer: HTTPResponse) -> bytes:
    try:
        return answer.read(CHUNK)
    except OSError as error:  # a broken connection, to be told from a full disk
        raise urllib.error.URLError(error) from error


def _hasher(checksum: Checksum) -> "hashlib._Hash":
    return hashlib.new(checksum.algorithm, usedforsecurity=False)


def _compare(path: Path, digest: str, checksum: Checksum) -> None:
    if digest != checksum.hex:
        raise InputError(
            f"{path} differs from the published file "
            f"({checksum.algorithm} {digest}, expected {checksum.hex})",
            hint=_AGAIN,
        )


_AGAIN = "delete it and fetch the data set again"
