"""`compress bench`: flags to a configuration, the stage, its table."""

import math
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from compress.cli import measuring, options
from compress.cli.output import deliver

if TYPE_CHECKING:
    from compress.config.bench import BenchConfig
    from compress.records.bench import BenchRecord


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
        if len(config.targets) == 1 and any(row.role != "teacher" for row in record.models):
            progress.note(f"next: {_gate(record, config)}")
    deliver(record, json=json, table=lambda: table(record))


def _gate(record: "BenchRecord", config: "BenchConfig") -> str:
    """A gate of what was measured, with a limit that it can judge."""
    from compress.stages.candidates import is_made

    own = [model for model in record.models if model.role != "teacher"]
    words = ["compress", "gate", str(config.targets[0])]
    words += ["--data", config.data] if config.data is not None and record.data else []
    made = config.teacher is not None and is_made(config.teacher)
    words += ["--teacher", str(config.teacher)] if config.teacher is not None and not made else []
    top1 = [model.top1 for model in own if model.top1 is not None]
    ratios = [model.teacher_ratio.high for model in own if model.teacher_ratio is not None]
    if not made and any(model.teacher_difference is not None for model in own):
        limit = ["--max-top1-drop", "0.01"]
    elif top1:
        limit = ["--min-top1", f"{math.floor(100 * min(top1)) / 100:g}"]
    elif not made and ratios:
        limit = ["--max-latency-ratio", f"{math.ceil(100 * max(ratios)) / 100:g}"]
    else:
        limit = ["--max-size-kib", f"{max(model.size_bytes for model in own) // 1024 + 1}"]
    return shlex.join([*words, *limit])
