"""Options that several commands share, spelled and explained once."""

from pathlib import Path
from typing import Annotated, Any

import typer

DATA = "Data"
MODELS = "Models"
LEARNING = "Learning"
MACHINE = "Machine"
RUN = "Run"
OUTPUT = "Output"

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="digits, cifar10, cifar100, or a folder of train/<class>/* and test/<class>/*.",
        rich_help_panel=DATA,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Where CIFAR lies or is downloaded to [default: $COMPRESS_DATA].",
        rich_help_panel=DATA,
    ),
]
Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE|-",
        help="Write the result as JSON; - is standard output, instead of the table.",
        rich_help_panel=OUTPUT,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", help="No progress and no notes.", rich_help_panel=OUTPUT)
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="A recipe to start from [default: the one named like the data].",
        rich_help_panel=RUN,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        help="Where to compute [default: auto].",
        rich_help_panel=MACHINE,
    ),
]
Amp = Annotated[
    str | None,
    typer.Option(
        "--amp",
        metavar="auto|off|bf16|fp16",
        help="Number format; auto measures [default: auto].",
        rich_help_panel=MACHINE,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="Threads that prepare batches; 0 leaves it to the device [default: 0].",
        rich_help_panel=MACHINE,
    ),
]


def asked(options: dict[str, Any]) -> dict[str, Any]:
    """The options the user gave: not None, not an empty repeat, not an unset switch."""
    return {
        key: value
        for key, value in options.items()
        if value is not None and value not in ([], False)
    }


def comma_list(text: str | None, option: str) -> list[str] | None:
    """Split `a,b,c`; None stays None.

    Raises:
        typer.BadParameter: An entry is empty.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise typer.BadParameter(f"{option} {text!r} has an empty entry")
    return parts
