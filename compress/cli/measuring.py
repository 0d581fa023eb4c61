"""Options of the commands that measure."""

from typing import Annotated

import typer

from compress.cli import options

Teacher = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        metavar="REF[:option=value,…]",
        help="Another model to compare with: an artifact, an .onnx file "
        "(FILE:normalization=NAME where it does not tell), a weights file or a model name.",
        rich_help_panel=options.MODELS,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        help="Threads of each session, pinned to cores of their own, the fastest kind first "
        "[default: 1].",
        rich_help_panel=options.MACHINE,
    ),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(
        "--max-seconds",
        help="Longest time spent on timing; it stops before when the figures are narrow "
        "[default: 20, or longer where five processes take longer].",
        rich_help_panel=options.MACHINE,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        metavar="N",
        help="Measure accuracy on N test images, drawn evenly; all unless set.",
        rich_help_panel=options.DATA,
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="HOST[:PYTHON]",
        help="Times on this host: measured over ssh, where the package must be installed, or "
        "held by a record that gate judges.",
        rich_help_panel=options.MACHINE,
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        help="Execution provider of ONNX Runtime; nothing falls back to another "
        "[default: CPUExecutionProvider].",
        rich_help_panel=options.MACHINE,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse test images of another size instead of resizing them.",
        rich_help_panel=options.DATA,
    ),
]
