"""`compress predict`: flags to a configuration, the stage, its table."""

from pathlib import Path
from typing import Annotated

import typer

from compress.cli import measuring, options
from compress.cli.output import deliver


def predict(
    artifact: Annotated[
        str,
        typer.Argument(metavar="ARTIFACT", help="An artifact folder, a model file, a run or last."),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE|FOLDER…", help="Pictures of any size, or folders of them."),
    ],
    student: Annotated[
        str | None,
        typer.Option(
            "--student",
            metavar="LABEL",
            help="Which model, where the artifact's folder holds several.",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="fp32|int8|fp16",
            help="Which form [default: int8 where there is one].",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k",
            help="Classes to name for each picture [default: 5].",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    provider: measuring.Provider = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Say what an artifact sees in pictures."""
    given = options.asked({**locals(), "json": None, "quiet": None})
    from compress.config import recipes
    from compress.config.predict import PredictConfig

    config = recipes.build(PredictConfig, given)

    from compress.errors import InputError
    from compress.render.live import make_progress
    from compress.render.tables.predict import table
    from compress.stages.predict import predict as stage

    with make_progress(quiet) as progress:
        record = stage(config, progress=progress)
    deliver(record, json=json, table=lambda: table(record))
    if record.unreadable:
        first = record.unreadable[0]
        more = f" (and {len(record.unreadable) - 1} more)" if len(record.unreadable) > 1 else ""
        raise InputError(f"skipped {first.image}: {first.reason}{more}")
