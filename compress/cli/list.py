"""`compress list`: flags to a configuration, the stage, its table."""

from typing import Annotated

import typer

from compress.cli import options
from compress.cli.output import deliver


def list_command(
    what: Annotated[
        str,
        typer.Argument(metavar="models|losses|data|recipes|runs|soft-labels", help="What to list."),
    ],
    soft_labels: options.SoftLabels = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Show what there is to choose from, and what was made."""
    from typing import get_args

    from compress.config import recipes
    from compress.config.list import Kind, ListConfig
    from compress.errors import unknown

    if what not in get_args(Kind):
        raise unknown("list", what, get_args(Kind))
    given = options.asked({"what": what, "soft_labels": soft_labels})
    config = recipes.build(ListConfig, given)

    from compress.render.live import make_progress
    from compress.render.tables.list import table
    from compress.stages.list import list_choices

    with make_progress(quiet) as progress:
        record = list_choices(config, progress=progress)
    deliver(record, json=json, table=lambda: table(record))
