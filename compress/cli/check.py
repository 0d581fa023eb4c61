"""`compress check`: flags to a configuration, the stage, its table."""

from typing import Annotated

import typer

from compress.cli import measuring, options
from compress.cli.output import deliver


def check(
    artifact: Annotated[
        str,
        typer.Argument(
            metavar="ARTIFACT",
            help="An artifact folder, a folder of these, a model file, a run or last.",
        ),
    ],
    provider: measuring.Provider = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Prove that artifacts answer here as they did: exit code 0 all, 5 not all, 6 cannot tell."""
    given = options.asked({"artifact": artifact, "provider": provider})
    from compress.config import recipes
    from compress.config.check import CheckConfig

    config = recipes.build(CheckConfig, given)

    from compress.errors import InconclusiveError, UnusableError
    from compress.render.live import make_progress
    from compress.render.tables.check import table
    from compress.stages.check import check as stage

    with make_progress(quiet) as progress:
        record = stage(config, progress=progress)
    deliver(record, json=json, table=lambda: table(record))
    for row in record.failed[:1]:
        more = f" (and {len(record.failed) - 1} more)" if len(record.failed) > 1 else ""
        raise UnusableError(
            f"{row.label} {row.file}: {row.different} of {row.images} images answered differently, "
            f"{row.top1_different} with another class; allowed: {row.allowed}{more}",
            hint=f"likely cause: {row.cause}",
        )
    for row in record.opened[:1]:
        count = len(record.rows) - len(record.opened)
        raise InconclusiveError(
            f"{row.label} {row.file} runs, but nothing was there to compare its answers with; "
            f"{count} of {len(record.rows)} files answered as expected",
            hint=row.note or "golden answers lie in golden.npz of an artifact's folder",
        )
