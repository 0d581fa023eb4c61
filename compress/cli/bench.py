"""`compress bench`: flags to a configuration, the stage, its table."""

from typing import Annotated

import typer

from compress.cli import measuring, options
from compress.cli.output import deliver


def bench(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET[:option=value,…]…",
            help="Folders of `compress export`, .onnx files, runs, or `last`. For a file from "
            "elsewhere FILE:normalization=NAME lets its accuracy be measured.",
        ),
    ] = None,
    teacher: measuring.Teacher = None,
    student: Annotated[
        list[str] | None,
        typer.Option(
            "--student",
            metavar="[LABEL=]MODEL[:option=value,…]",
            help="An untrained candidate, measured in fp32 and INT8 to choose from before "
            "training; repeatable.",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    max_size_kib: Annotated[
        float | None,
        typer.Option(
            "--max-size-kib",
            help="Leave out files larger than this.",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    data: options.MeasuredData = None,
    data_dir: options.DataDir = None,
    limit: measuring.Limit = None,
    strict: measuring.Strict = False,
    threads: measuring.Threads = None,
    max_seconds: measuring.MaxSeconds = None,
    provider: measuring.Provider = None,
    on: measuring.On = None,
    per_class: Annotated[
        bool,
        typer.Option(
            "--per-class",
            help="Also show the accuracy of every class.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Measure size, latency and accuracy of models beside their teacher, in one table."""
    from compress.config import recipes
    from compress.config.bench import BenchConfig

    given = options.asked(
        {
            "targets": targets,
            "teacher": teacher,
            "student": student,
            "max_size_kib": max_size_kib,
            "data": data,
            "data_dir": data_dir,
            "limit": limit,
            "strict": strict,
            "threads": threads,
            "max_seconds": max_seconds,
            "provider": provider,
            "on": on,
            "per_class": per_class,
        }
    )
    config = recipes.build(BenchConfig, given)

    from compress.render.live import make_progress
    from compress.render.tables.bench import table
    from compress.stages.bench import bench as measure

    with make_progress(quiet) as progress:
        record = measure(config, progress=progress)
        if targets and len(targets) == 1:
            progress.note(f"next: compress gate {targets[0]} --max-top1-drop 0.01")
    deliver(record, json=json, table=lambda: table(record))
