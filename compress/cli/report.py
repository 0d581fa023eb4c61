"""`compress report`: flags to a configuration, the stage, its pages."""

from pathlib import Path
from typing import Annotated

import typer

from compress.cli import options
from compress.cli.output import deliver


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Finished runs, or last.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where to write [default: report/ in the run; for several runs, here].",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    data_dir: options.DataDir = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Write a page about finished runs: tables, curves, confusion, and where models differ."""
    from compress.config import recipes
    from compress.config.report import ReportConfig

    given = options.asked({"runs": tuple(runs), "out": out, "data_dir": data_dir})
    config = recipes.build(ReportConfig, given)

    from compress.render.live import make_progress
    from compress.stages.report import report as stage

    with make_progress(quiet) as progress:
        record = stage(config, progress=progress)
        progress.note("drawing")
        from compress.render.report_files import write_report
        from compress.render.tables.report import table

        write_report(record)
    deliver(record, json=json, table=lambda: table(record))
