"""How a command ends: its record as a table, or as JSON."""

import codecs
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from compress.errors import CompressError, UnusableError
from compress.streams import tell_nobody

if TYPE_CHECKING:
    from rich.console import RenderableType

    from compress.progress import Progress
    from compress.records.training import TrainingRecord

LOG_WIDTH = 132
"""What the logs of CI jobs show without breaking lines; every table has its full form there."""


class Writable(Protocol):
    """A record."""

    def to_json(self) -> str:
        """As JSON text."""
        ...


def speaks() -> bool:
    """Whether this process tells the user anything: of those torchrun started, the first does."""
    return os.environ.get("RANK", "0") == "0"


def note_recipe(progress: "Progress", recipe: str | None) -> None:
    """Say which recipe fills what no flag says, also where nobody named it."""
    if recipe:
        progress.note(f"recipe {recipe}; flags replace its settings one by one")


def deliver(record: Writable, *, json: str | None, table: "Callable[[], RenderableType]") -> None:
    """Write the result to standard output, then to a file where one was asked for.

    Where the reader of a pipe has left (`| head`), nobody is there to tell, and the command goes on
    to its own end: its exit code stands.

    Args:
        record: The result.
        json: `-` writes JSON instead of the table; a path writes it beside the table.
        table: Makes the table; not called when it is not shown.

    Raises:
        InputError: Standard output or the file cannot be written.
    """
    if not speaks():
        return
    try:
        _write(_writable(record.to_json()) if json == "-" else table())
    finally:
        if json is not None and json != "-":
            from compress.files import write_text

            write_text(Path(json), record.to_json())


def all_of(*steps: Callable[[], None]) -> None:
    """Take every step, also after one that failed.

    Raises:
        CompressError: The first that failed, with what the others said.
        Exception: The first that failed in a way that nobody expected.
    """
    failed: list[CompressError] = []
    broken: list[Exception] = []
    for step in steps:
        try:
            step()
        except CompressError as error:
            failed.append(error)
        except Exception as error:  # noqa: BLE001 - raised when the others had their turn
            broken.append(error)
    if broken:
        raise broken[0]
    if failed:
        first, message = failed[0], "; ".join(error.message for error in failed)
        first.retell(message, hint=first.hint)
        raise first


def _writable(text: str) -> str:
    """JSON in the signs that standard output has: other encodings than UTF-8 get ASCII."""
    if codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8":
        return text
    import json

    return json.dumps(json.loads(text), indent=2) + "\n"


def _write(result: "str | RenderableType") -> None:
    """Write JSON as it is, or a table, all of it, as far as somebody reads.

    Raises:
        InputError: It cannot be written: the disk is full.
    """
    try:
        if isinstance(result, str):
            sys.stdout.write(result)
        else:
            from rich.console import Console

            Console(width=_width()).print(result)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # the latter is Rich's answer to a closed pipe
        tell_nobody(sys.stdout)
    except OSError as error:
        from compress.files import write_error

        tell_nobody(sys.stdout)
        raise write_error(Path("standard output"), error) from error


def deliver_training(
    record: "TrainingRecord", *, json: str | None, table: "Callable[[], RenderableType]"
) -> None:
    """Write the result of a training as `deliver` does, then fail where models had to be left out.

    Args:
        record: The result.
        json: As in `deliver`.
        table: As in `deliver`.

    Raises:
        InputError: Standard output or the file cannot be written.
        UnusableError: Models diverged; the first process alone tells.
    """
    deliver(record, json=json, table=table)
    if speaks() and record.diverged:
        first, *others = record.diverged
        more = f" (and {len(others)} more)" if others else ""
        raise UnusableError(
            f"{first}{more}",
            hint=f"the run {record.run} is complete without; a smaller --learning-rate may do, or "
            "--amp off",
        )


def _width() -> int | None:
    """Columns of a log, where nobody has a terminal; None leaves the question to Rich."""
    if "COLUMNS" in os.environ or any(os.isatty(stream) for stream in (0, 1, 2)):
        return None
    return LOG_WIDTH
