"""Stored teacher answers: one float16 array per view, named by content, verified on read."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from compress.errors import InputError
from compress.files import write_bytes, write_error, write_text
from compress.locks import alone, never, nobody, taken
from compress.records.soft_labels import SoftLabelSet, TeacherDescription

DESCRIPTION = "teacher.json"
EVALUATION = "evaluation.safetensors"
VIEWS = "views"
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What the system says of a file in a folder that may only be read."""
REFILL = "`compress soft-labels --teacher …` computes it again"
LOWEST = np.finfo(np.float16).min
MIB = 2**20


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    """sha256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}:{array.dtype}:{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    write_bytes(path, save(arrays, metadata={"sha256": _digest(arrays)}))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file.

    Raises:
        InputError: Damaged.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}", hint=REFILL) from error
    if metadata.get("sha256") != _digest(arrays):
        raise InputError(f"{path} is damaged: its content does not match its sha256", hint=REFILL)
    return arrays


def relative(logits: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Logits as they are stored: each row minus its maximum, as float16.

    Every loss on logits ignores shifts; the subtraction makes float16's rounding 20 times smaller.
    What is below float16's range, whose probability is 0 in any format, is its lowest number.

    Args:
        logits: Shape (images, classes).
    """
    shifted: NDArray[np.floating[Any]] = logits - logits.max(axis=1, keepdims=True)
    np.maximum(shifted, LOWEST, out=shifted)
    return shifted.astype(np.float16)


class SoftLabels:
    """The stored answers of one teacher to the views of one training set.

    Attributes:
        folder: Their place.
    """

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes
        self._outgrown = False

    @property
    def key(self) -> str:
        """The folder's name: a digest of everything the answers depend on but the view."""
        return self.folder.name

    def view_path(self, digest: str) -> Path:
        """Where a view's answers lie."""
        return self.folder / VIEWS / f"{digest}.safetensors"

    def has(self, digest: str) -> bool:
        """Whether a view is stored (its content is verified when read)."""
        return self.view_path(digest).is_file()

    def held(self, digests: Iterable[str]) -> int:
        """How many of these views are stored."""
        return sum(self.has(digest) for digest in digests)

    def describe(self, description: TeacherDescription) -> None:
        """Write what the teacher is.

        Raises:
            InputError: The folder cannot be written.
        """
        write_text(self.folder / DESCRIPTION, description.to_json())

    def is_described(self) -> bool:
        """Whether the teacher was measured before, which is the last thing written of it."""
        return (self.folder / DESCRIPTION).is_file()

    def description(self) -> TeacherDescription:
        """What the teacher is.

        Raises:
            InputError: Missing or damaged.
        """
        return TeacherDescription.read(self.folder / DESCRIPTION)

    def write_evaluation(self, validation: NDArray[np.float32], test: NDArray[np.float32]) -> None:
        """Keep the teacher's float32 logits of the plain validation and test images.

        Args:
            validation: Shape (images, classes).
            test: Shape (images, classes).
        """
        _write(self.folder / EVALUATION, {"validation": validation, "test": test})

    def read_evaluation(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The teacher's float32 logits of the plain validation and test images.

        Raises:
            InputError: Missing or damaged.
        """
        path = self.folder / EVALUATION
        if not path.is_file():
            raise InputError(
                f"{path} is missing: the teacher's answers to the validation and test images",
                hint=REFILL,
            )
        arrays = _read(path)
        return arrays["validation"], arrays["test"]

    def read(self, digest: str) -> NDArray[np.float16]:
        """A view's answers, shape (images, classes), each row's maximum 0.

        Raises:
            InputError: Missing or damaged.
        """
        path = self.view_path(digest)
        if not path.is_file():
            raise InputError(f"{path} is missing: the teacher's answers to a view", hint=REFILL)
        logits: NDArray[np.float16] = np.maximum(_read(path)["logits"], LOWEST)  # older: -inf
        with suppress(OSError):
            os.utime(path)  # least recently used goes first
        return logits

    def write(self, digest: str, logits: NDArray[np.float32]) -> None:
        """Store a view's answers, then make room where the folder has outgrown its limit."""
        with self._filling():
            self._write(digest, logits)

    def _write(self, digest: str, logits: NDArray[np.float32]) -> None:
        _write(self.view_path(digest), {"logits": relative(logits)})
        make_room(self.folder.parent, self._limit_bytes)

    def _tell_if_outgrown(self, tell: Callable[[str], None]) -> None:
        """Say once that what runs use is larger than the limit."""
        size = sum(view.size_bytes for view in _views(self.folder.parent))
        if size > self._limit_bytes and not self._outgrown:
            self._outgrown = True
            tell(
                f"{self.folder.parent} holds {size / MIB:.1f} MiB of views, more than its limit of "
                f"{self._limit_bytes / MIB:g} MiB: what a run uses is not removed"
            )

    def obtain(
        self,
        digest: str,
        fill: Callable[[], NDArray[np.float32]] | None,
        *,
        tell: Callable[[str], None],
        give_up: Callable[[], bool] = never,
    ) -> tuple[NDArray[np.float16], bool]:
        """Read a view's answers; compute and store them where they are missing or damaged.

        Two processes that want the same view do the work once: the second waits.

        Args:
            digest: The view's.
            fill: Computes the logits, shape (images, classes); None where there is no teacher.
            tell: Told, in one line, of a file that is rebuilt, of another process that is waited
                for, and once of a folder that outgrew its limit.
            give_up: Asked twice a second whether to wait no longer.

        Returns:
            The stored values, and whether they had to be computed.

        Raises:
            InputError: Missing or damaged, and nothing to compute them with.
            Interrupted: The waiting was given up.
        """
        path = self.view_path(digest)
        if fill is None:
            return self.read(digest), False
        if path.is_file():
            try:
                return self.read(digest), False
            except InputError as error:
                tell(f"{error.message}; computing it again")
        with self._filling(tell, give_up):
            if path.is_file():
                with suppress(InputError):
                    return self.read(digest), False
                path.unlink(missing_ok=True)
            self._write(digest, fill())
            self._tell_if_outgrown(tell)
            return self.read(digest), True

    @contextmanager
    def _filling(
        self, tell: Callable[[str], None] = nobody, give_up: Callable[[], bool] = never
    ) -> Iterator[None]:
        """Only one process at a time computes answers of this teacher."""
        with alone(self.folder / "fill.lock", tell=tell, give_up=give_up):
            for half in (self.folder / VIEWS).glob(".*.part"):
                half.unlink(missing_ok=True)  # its writer was killed, or it would hold the lock
            yield

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep this teacher's answers from being removed to make room, for a block.

        In a folder that may only be read, on a mount without a lock file, or on one without locks,
        nothing is held: whoever may write there does not see this run.

        Raises:
            InputError: The folder is not there and cannot be made.
        """
        lock = self._use_lock()
        if lock is None:
            yield
            return
        with lock:
            with suppress(OSError):  # no locks here: nobody removes anything by them either
                fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def _use_lock(self) -> IO[str] | None:
        """The file whose lock says that a run reads here; None where there is none to be had."""
        path = self.folder / "use.lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return path.open("a+")  # NFS gives shared locks to readers alone
        except OSError as error:
            if error.errno not in READ_ONLY or not self.folder.is_dir():
                raise write_error(self.folder, error) from error
        with suppress(OSError):
            return path.open()  # a lock needs no right to write
        return None


class _StoredView(NamedTuple):
    """A view's file; by age, oldest first, where they are sorted."""

    used_ns: int
    size_bytes: int
    path: Path


def _views(folder: Path, teacher: str = "*") -> list[_StoredView]:
    """The views of one teacher or all, but for what another process removes meanwhile."""
    views = []
    for path in folder.glob(f"{teacher}/{VIEWS}/*.safetensors"):
        with suppress(OSError):
            status = path.stat()
            views.append(_StoredView(status.st_mtime_ns, status.st_size, path))
    return views


def make_room(
    folder: Path, limit_bytes: int, *, keep: Collection[Path] = frozenset()
) -> list[Path]:
    """Remove the least recently used views until the folder fits; never those of a running run.

    Args:
        folder: Holds one folder per teacher.
        limit_bytes: Size of all views together.
        keep: Views that somebody is about to use.

    Returns:
        What was removed.
    """
    views = _views(folder)
    total = sum(view.size_bytes for view in views)
    removed: list[Path] = []
    for _, size, path in sorted(views):
        if total <= limit_bytes:
            break
        if path in keep:
            continue
        with _unless_in_use(path.parent.parent) as free:
            if free:
                with suppress(OSError):
                    path.unlink()
                    removed.append(path)
                    total -= size
    return removed


@contextmanager
def _unless_in_use(folder: Path) -> Iterator[bool]:
    """Whether no run holds a teacher's folder; nobody can take it up during the block."""
    try:
        lock = (folder / "use.lock").open("a")
    except OSError:
        yield False
        return
    with lock:
        free = False
        with suppress(OSError):
            free = taken(lock, patient=False)  # asked once per view
        yield free


def stored_sets(folder: Path) -> list[SoftLabels]:
    """The teachers whose answers a folder holds, by key."""
    found = sorted(path.parent for path in folder.glob(f"*/{DESCRIPTION}"))
    return [SoftLabels(path, limit_bytes=0) for path in found]


def list_sets(folder: Path) -> list[SoftLabelSet]:
    """What a folder of soft labels holds, for people; a damaged description is left out."""
    rows = []
    for labels in stored_sets(folder):
        with suppress(InputError):
            described = labels.description()
            views = _views(folder, labels.key)
            rows.append(
                SoftLabelSet(
                    key=labels.key,
                    teacher=described.name,
                    data=described.data,
                    top1=described.top1,
                    number_format=described.number_format,
                    format_agreement=described.format_agreement,
                    format_probability_error=described.format_probability_error,
                    views=len(views),
                    size_bytes=sum(view.size_bytes for view in views),
                )
            )
    return rows
