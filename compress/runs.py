"""Run directories: one process at a time, a manifest, and files checked by sha256."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, Self

from compress import replaced
from compress.environment import read_environment
from compress.errors import ConfigError, InputError, Interrupted
from compress.files import sha256_file, write_error, write_text
from compress.identity import differences
from compress.locks import claim
from compress.records.artifact import of_an_artifact
from compress.records.run import EpochRecord, FileRecord, InputRecord, RunManifest, Status

RUNS, LAST = Path("runs"), "last"
MANIFEST = "manifest.json"
EPOCHS = "epochs.jsonl"
CHECKPOINT = "last.pt"
WAITING = "waiting{}.pt"
"""Checkpoints of students that wait for others of their group; see training/groups.py."""
RECORD = "record.json"
LOCK = "lock"


def read_manifest(folder: Path) -> RunManifest:
    """The manifest of a run directory.

    Raises:
        InputError: No run there (an artifact is none), or its manifest is unreadable.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"no run in {folder}: {MANIFEST} is missing")
    try:
        return RunManifest.read(path)
    except InputError:
        with suppress(OSError, ValueError, TypeError):
            if of_an_artifact(json.loads(path.read_text(encoding="utf-8"))):
                raise InputError(
                    f"{folder} is an exported artifact, not a run",
                    hint="name the run or the weights it was exported from",
                ) from None
        raise


def _begun(folder: Path) -> int:
    """When a run was begun, in ns: its lock is touched then; a copy may have left that behind."""
    lock = folder / LOCK
    return (lock if lock.is_file() else folder / MANIFEST).stat().st_mtime_ns


def all_runs(root: Path = RUNS) -> list[Path]:
    """Every run directory under a folder, newest first (by when its manifest was first made)."""
    found = [path.parent for path in root.glob(f"*/{MANIFEST}")] if root.is_dir() else []
    return sorted(found, key=_begun, reverse=True)


def _strangers(folder: Path) -> list[str]:
    """What lies in a folder that is no run and did not come from beginning one."""
    if (folder / MANIFEST).is_file() or not folder.is_dir() or replaced.waits(folder):
        return []
    begun = (LOCK, f".{MANIFEST}.")
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(begun))


def find_run(
    name: str, root: Path = RUNS, *, besides: Path | None = None, command: str | None = None
) -> Path:
    """A run directory by path, by id, or `last` for the newest.

    Args:
        name: As the user wrote it.
        root: Where runs lie.
        besides: A run that `last` does not mean: the one that is being made.
        command: What made the run that `last` means; None is any command.

    Raises:
        InputError: No such run.
    """
    if name == LAST:
        own = None if besides is None else besides.resolve()
        for folder in all_runs(root):
            if folder.resolve() != own and (command is None or _made_by(folder) == command):
                return folder
        of = f" of `compress {command}`" if command else ""
        hint = f"make one with `compress {command or 'distill'}`"
        raise InputError(f"no run{of} under {root}/", hint=hint)
    for folder in (Path(name), root / name):
        if (folder / MANIFEST).is_file():
            return folder
    raise InputError(
        f"no run {name!r}: {MANIFEST} is neither in {name} nor in {root / name}",
        hint="`compress list runs` shows what there is",
    )


def _made_by(folder: Path) -> str | None:
    """The command of a run; None where its manifest cannot be read."""
    with suppress(InputError):
        return read_manifest(folder).command
    return None


def is_run(name: str, root: Path = RUNS) -> bool:
    """Whether `find_run` would find it."""
    return name == LAST or any((f / MANIFEST).is_file() for f in (Path(name), root / name))


def is_complete(folder: Path) -> bool:
    """Whether a finished run lies in a folder."""
    with suppress(InputError):
        return read_manifest(folder).status == "complete"
    return False


def complete_run(folder: Path) -> RunManifest:
    """The manifest of a finished run.

    Raises:
        InputError: The run is running, failed or interrupted.
    """
    manifest = read_manifest(folder)
    if manifest.status != "complete":
        raise InputError(
            f"run {folder} is {manifest.status}"
            + (f": {manifest.reason}" if manifest.reason else ""),
            hint="run its command again to finish it",
        )
    return manifest


def checked_file(folder: Path, manifest: RunManifest, name: str) -> Path:
    """A file of a run, equal to what its manifest says.

    Raises:
        InputError: Not part of the run, missing, or altered.
    """
    if name not in manifest.artifacts:
        raise InputError(f"run {folder} has no {name}")
    path, expected = folder / name, manifest.artifacts[name].sha256
    actual = sha256_file(path)
    if actual != expected:
        raise InputError(
            f"{path} differs from its manifest (sha256 {actual[:12]}…, expected {expected[:12]}…)",
            hint="run the command that made it again with --restart",
        )
    return path


def newest_complete(
    wanted: Callable[[RunManifest], bool], root: Path = RUNS
) -> tuple[Path, RunManifest] | None:
    """The newest complete run whose manifest satisfies a condition, or None."""
    for folder in all_runs(root):
        with suppress(InputError):
            manifest = read_manifest(folder)
            if manifest.status == "complete" and wanted(manifest):
                return folder, manifest
    return None


def read_epochs(folder: Path) -> list[EpochRecord]:
    """The epoch log of a run so far; lines that are none, as one cut by a kill, are left out."""
    path = folder / EPOCHS
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    records = []
    for line in text.splitlines():
        with suppress(ValueError):
            records.append(EpochRecord.model_validate_json(line))
    return records


class Run:
    """An open run directory, held by this process alone.

    Attributes:
        folder: Its place.
        manifest: As last written.
        seconds_before: Spent on this run by processes before this one.
    """

    def __init__(self, folder: Path, manifest: RunManifest, lock: IO[str] | None) -> None:
        self.folder = folder
        self.manifest = manifest
        self.seconds_before = 0.0
        self._lock = lock
        self._opened = time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent on this run by all its processes so far."""
        return self.seconds_before + time.monotonic() - self._opened

    @classmethod
    def follow(cls, folder: Path) -> Self:
        """Read along in a run that another process of the same training holds and writes.

        Raises:
            InputError: No run there.
        """
        if not (folder / MANIFEST).is_file():
            unseen = f"this rank does not see {folder.absolute()}, which the first one made"
            raise InputError(unseen, hint="start all in one folder of a file system they share")
        return cls(folder, read_manifest(folder), None)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        id: str,  # noqa: A002
        command: Literal["train", "distill"],
        config: dict[str, Any],
        restart: bool = False,
        asked_before: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> Self:
        """Make a run directory, or take up the one that is there.

        Args:
            folder: Where it lies.
            id: Its name.
            command: What makes it.
            config: The configuration in JSON form.
            restart: Put what is there aside: `begin` removes it, a failure before brings it back.
            asked_before: Completes the configuration of a manifest that an older version wrote.

        Raises:
            ConfigError: The run there was asked for with other options.
            InputError: Another process holds it, or it cannot be written.
        """
        try:
            if strangers := _strangers(folder):
                raise InputError(
                    f"{folder} holds {strangers[0]} and is no run", hint="choose an empty --run-dir"
                )
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from error
        lock = claim(folder / LOCK, hint="wait for it, or use another --run-dir")
        try:
            new = RunManifest(
                id=id,
                status="running",
                command=command,
                config=config,
                environment=read_environment(),
            )
            return cls._locked(folder, lock, new, restart, asked_before)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def _locked(
        cls,
        folder: Path,
        lock: IO[str],
        new: RunManifest,
        restart: bool,
        asked_before: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> Self:
        replaced.settle(folder, manifest=MANIFEST)
        if (folder / MANIFEST).is_file() and not restart:
            manifest = read_manifest(folder)
            if manifest.command != new.command:
                raise ConfigError(
                    f"{folder} was made by `compress {manifest.command}`",
                    hint="use another --run-dir, or --restart",
                )
            changed = differences(asked_before(manifest.config), new.config)
            if changed:
                raise ConfigError(
                    f"{folder} was begun with other options: {'; '.join(changed)}",
                    hint="use the same options, another --run-dir, or --restart",
                )
            for part in folder.rglob(".*.part"):
                part.unlink()  # what a killed process was writing
            run = cls(folder, manifest, lock)
            if manifest.status != "complete":
                run.update(status="running", reason=None)
            return run
        replaced.put_aside(folder, manifest=MANIFEST, lock=LOCK)
        run = cls(folder, new, lock)
        (folder / LOCK).touch()
        run.update()
        return run

    def begin(self) -> None:
        """Let go of what `--restart` put aside: the new run has something to keep.

        Raises:
            InputError: The folder cannot be written.
        """
        if self._lock is not None:
            replaced.let_go(self.folder)

    def update(self, **changes: Any) -> None:
        """Change fields of the manifest and write it.

        Raises:
            InputError: It cannot be written.
        """
        self.manifest = self.manifest.model_copy(update=changes)
        if self._lock is None:
            return
        write_text(self.folder / MANIFEST, self.manifest.to_json())

    def renew(self) -> None:
        """Count as begun now, so that `last` means it and not a run made on its behalf."""
        if self._lock is not None:
            (self.folder / LOCK).touch()

    def pin(self, name: str, source: str, sha256: str) -> None:
        """Note an input, or refuse one that changed since the run began.

        Raises:
            InputError: The input differs from the one the run began with.
        """
        before = self.manifest.inputs.get(name)
        if before is None:
            record = InputRecord(source=source, sha256=sha256)
            self.update(inputs={**self.manifest.inputs, name: record})
        elif before.sha256 != sha256:
            raise InputError(
                f"{name} {source} changed since the run began (sha256 {sha256[:12]}…, "
                f"expected {before.sha256[:12]}…)",
                hint="bring the old one back, or begin anew with --restart",
            )

    def choose(self, name: str, decide: Callable[[], Any]) -> Any:
        """A decision made once in a run's life: read from the manifest, else made and noted."""
        if name not in self.manifest.choices and self._lock is None:
            self.manifest = read_manifest(self.folder)
        if name not in self.manifest.choices:
            self.update(choices={**self.manifest.choices, name: decide()})
        return self.manifest.choices[name]

    def write_epochs(self, records: list[EpochRecord]) -> None:
        """Replace the epoch log."""
        text = "".join(record.model_dump_json() + "\n" for record in records)
        write_text(self.folder / EPOCHS, text)

    def finish(self, status: Status, *, reason: str | None = None) -> None:
        """Set the final status; "complete" lists every file with its sha256."""
        if self._lock is None:
            return
        if status != "complete":
            if not replaced.bring_back(self.folder, manifest=MANIFEST):
                self.update(status=status, reason=reason)
            return
        skipped = {LOCK, MANIFEST, CHECKPOINT}
        others = {"plots", "tensorboard", *replaced.FOLDERS}
        files = sorted(
            path
            for path in self.folder.rglob("*")
            if path.is_file()
            and path.relative_to(self.folder).parts[0] not in others
            and path.name not in skipped
            and not path.name.startswith(".")
        )
        artifacts = {
            path.relative_to(self.folder).as_posix(): FileRecord(
                sha256=sha256_file(path), size_bytes=path.stat().st_size
            )
            for path in files
        }
        self.update(status="complete", artifacts=artifacts, reason=None)

    def close(self) -> None:
        """Let other processes in."""
        if self._lock is not None:
            self._lock.close()


@contextmanager
def opened(run: Run) -> Iterator[Run]:
    """Hold a run for a block; a failure inside is written into its manifest.

    A run that was complete stays so: nothing a later command does makes it less true.

    Raises:
        BaseException: Whatever the block raised.
    """
    try:
        yield run
    except (Exception, KeyboardInterrupt) as error:
        stopped = isinstance(error, (KeyboardInterrupt, Interrupted))
        if run.manifest.status != "complete":
            with suppress(InputError):
                run.finish(
                    "interrupted" if stopped else "failed",
                    reason=None if stopped else str(error) or type(error).__name__,
                )
        raise
    finally:
        run.close()
