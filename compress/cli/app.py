"""The Typer application: its commands, and how failures become exit codes."""

import errno
import functools
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from compress.cli.output import speaks
from compress.errors import CompressError, ConfigError, DivergedError, Interrupted
from compress.streams import tell_nobody
from compress.version import VERSION, install_hint

COMMANDS = {
    "train": "compress.cli.train:train",
    "distill": "compress.cli.distill:distill",
    "soft-labels": "compress.cli.soft_labels:soft_labels",
    "export": "compress.cli.export:export",
    "bench": "compress.cli.bench:bench",
    "gate": "compress.cli.gate:gate",
    "check": "compress.cli.check:check",
    "predict": "compress.cli.predict:predict",
    "report": "compress.cli.report:report",
    "list": "compress.cli.list:list_command",
}
BUG = 70
INTERRUPTED = 130
PLACE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}
)
"""System errors that are about the user's disk or paths, wherever they come from."""
EVERYWHERE = (ConfigError, DivergedError, Interrupted)
"""What all ranks of torchrun meet alike: they have one command line, and agree on the rest."""
LOST = re.compile(r"gloo|NCCL|Connection (?:closed|reset) by peer", re.IGNORECASE)
"""What torch.distributed says where another rank is gone."""
STEPS = """\
From a big classifier to a small one that is proven on its device:

  1  compress distill            teach MobileNetV2 and the small CNN from a ResNet50
  2  compress export last        make checked fp32 and INT8 ONNX artifacts
  3  compress bench last         latency, size and accuracy beside the teacher
  4  compress gate last --max-top1-drop 0.01
                                 the same figures as an exit code for CI

`compress COMMAND --help` explains each; `compress list recipes` shows what else can be run.
"""

app = typer.Typer(
    name="compress",
    help="Teach a small image classifier from a big one, and prove it on the device it ships to.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Command(TyperCommand):
    """A command whose help shows brackets as they were written, not as Rich markup."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for parameter in self.params:
            text = getattr(parameter, "help", None)
            if text:
                parameter.help = text.replace("[", r"\[")  # type: ignore[attr-defined]


class _State:
    """What the process knows of itself.

    Attributes:
        debug: Whether tracebacks are shown.
        verdict: Whether a command chose its exit code, as the gate does.
    """

    debug = False
    verdict = False


def fail(error: BaseException) -> NoReturn:
    """Say what went wrong on stderr, once for all ranks, and leave with its exit code.

    Raises:
        typer.Exit: Always.
    """
    if _State.debug:
        sys.stderr.write("".join(traceback.format_exception(error)))
    if isinstance(error, EVERYWHERE) and not speaks():
        raise typer.Exit(error.exit_code)
    if isinstance(error, CompressError) and error.told:
        raise typer.Exit(error.exit_code)
    if isinstance(error, CompressError):
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        raise typer.Exit(error.exit_code)
    if isinstance(error, RuntimeError) and "RANK" in os.environ and LOST.search(str(error)):
        sys.stderr.write(f"error: rank {os.environ['RANK']} lost the others: one of them ended\n")
        raise typer.Exit(4)
    if isinstance(error, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        raise typer.Exit(INTERRUPTED)
    if isinstance(error, ModuleNotFoundError) and _missing_extra(error.name):
        sys.stderr.write(
            f"error: this command needs {error.name}, which is not installed\n"
            f"hint: {install_hint('train')}\n"
        )
        raise typer.Exit(4)
    if isinstance(error, MemoryError):
        sys.stderr.write(
            "error: this machine has not enough memory\n"
            "hint: smaller batches or fewer students at a time need less\n"
        )
        raise typer.Exit(4)
    if isinstance(error, OSError) and error.errno in PLACE:
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {place}{error.strerror}\n")
        raise typer.Exit(3)
    sys.stderr.write(
        f"error: {type(error).__name__}: {error}\n"
        "hint: this is a bug in compress; run again with --debug before the command and report "
        "it\n"
    )
    raise typer.Exit(BUG)


def _missing_extra(name: str | None) -> bool:
    """Whether a module that failed to import belongs to an optional extra."""
    extras = {"torch", "torchvision", "onnx", "onnxsim", "onnxscript", "safetensors"}
    return (name or "").partition(".")[0] in extras | {"sklearn", "matplotlib", "tensorboard"}


def guarded(function: Callable[..., None]) -> Callable[..., None]:
    """Map every failure of a command to its exit code; a crash is never 1, the gate's verdict."""

    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> None:
        try:
            function(*args, **options)
        except typer.Exit:
            _State.verdict = True
            raise
        except (typer.Abort, typer.BadParameter):
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place that maps
            fail(error)

    return wrapper


def _version(value: bool) -> None:
    if value:
        typer.echo(f"compress {VERSION}")
        raise typer.Exit(0)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Teach a small image classifier from a big one, and prove it on the device it ships to."""
    del version
    _State.debug = debug
    if context.invoked_subcommand is None:
        typer.echo(STEPS, nl=False)


def register() -> None:
    """Add every command to the application.

    Raises:
        ImportError: A command's module cannot be imported.
    """
    for name, place in COMMANDS.items():
        module, _, function = place.partition(":")
        command = getattr(import_module(module), function)
        bare = name in {"export", "check", "predict", "report"}
        app.command(name, cls=_Command, no_args_is_help=bare)(guarded(command))


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    """Run the program; an import that fails ends with 70, never with 1.

    `streams.prepare` comes first.
    """
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        register()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - a broken installation must not look like a verdict
        sys.stderr.write(f"error: {type(error).__name__}: {error}\n")
        sys.exit(BUG)
    try:
        guarded(app)()
    except typer.Exit as end:  # outside a command, as where Typer's help meets a full disk
        tell_nobody(sys.stdout)
        sys.exit(end.exit_code)
    except SystemExit as end:
        # Typer itself ends with 1 on Ctrl-C or a closed pipe outside a command; 1 is the gate's
        if end.code == 1 and not _State.verdict:
            sys.exit(INTERRUPTED)
        raise
