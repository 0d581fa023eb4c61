"""`compress gate`: flags to a configuration, the stage, its files, its exit code."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compress.cli import measuring, options
from compress.cli.output import all_of, deliver

if TYPE_CHECKING:
    from compress.config.gate import GateConfig
    from compress.records.gate import GateRecord

LIMITS = "Limits"
VERDICT = "Verdict"


def gate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET|FILE.json",
            help="A folder of `compress export`, an .onnx file, a run, `last`, or the JSON of an "
            "earlier bench.",
        ),
    ],
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="ARTIFACT|FILE.json",
            help="What regressions are measured against: an artifact, timed beside the target in "
            "one process, or the JSON of a bench of this machine.",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            metavar="ARTIFACT[:option=value,…]",
            help="Another model to compare with: an artifact or an .onnx file "
            "(FILE:normalization=NAME where it does not tell).",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    student: Annotated[
        list[str] | None,
        typer.Option(
            "--student",
            metavar="LABEL",
            help="Judge this one only; repeatable. Every row but the teacher's unless set.",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="fp32,int8,fp16",
            help="Judge these forms only; one that a model lacks cannot be told.",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    min_top1: Annotated[
        float | None,
        typer.Option(
            "--min-top1",
            help="Lowest top-1, a fraction of 1: 0.93.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_top1_drop: Annotated[
        float | None,
        typer.Option(
            "--max-top1-drop",
            help="Largest top-1 lost against the teacher; 0.005 is half a point.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_quant_drop: Annotated[
        float | None,
        typer.Option(
            "--max-quant-drop",
            help="Largest top-1 lost against the fp32 form of the same model.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            "--min-agreement",
            help="Smallest share of test images with the teacher's answer.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_size_kib: Annotated[
        float | None,
        typer.Option("--max-size-kib", help="Largest file, in KiB.", rich_help_panel=LIMITS),
    ] = None,
    max_latency_ratio: Annotated[
        float | None,
        typer.Option(
            "--max-latency-ratio",
            help="Largest latency by that of --latency-reference: 0.25 is a quarter.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    latency_reference: Annotated[
        str | None,
        typer.Option(
            "--latency-reference",
            metavar="teacher|fp32",
            help="What --max-latency-ratio compares with: the teacher, or the fp32 form of the "
            "same model [default: teacher].",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_p90_ms: Annotated[
        float | None,
        typer.Option(
            "--max-p90-ms",
            help="Largest 90th percentile of the latency, in ms.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_latency_regression: Annotated[
        float | None,
        typer.Option(
            "--max-latency-regression",
            help="Largest growth of the latency against --baseline; 0.05 allows 1.05x.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    max_top1_regression: Annotated[
        float | None,
        typer.Option(
            "--max-top1-regression",
            help="Largest top-1 lost against --baseline.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="A recipe whose gate table sets limits, over those of [tool.compress.gate] in "
            "./pyproject.toml and under these options.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    inconclusive: Annotated[
        str | None,
        typer.Option(
            "--inconclusive",
            metavar="pass|fail",
            help="What an undecided check counts as, instead of exit code 6. A gate that decided "
            "nothing ends with 6 all the same.",
            rich_help_panel=VERDICT,
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(
            "--junit",
            metavar="FILE",
            help="Write JUnit XML, one test case per check.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="FILE",
            help="Write Markdown; $GITHUB_STEP_SUMMARY gets it in any case.",
            rich_help_panel=options.OUTPUT,
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
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Judge accuracy, size and latency by limits: exit code 0 passed, 1 failed, 6 cannot tell."""
    from compress.config import recipes
    from compress.config.gate import (
        RECORD_SUFFIX,
        WITH_BASELINE,
        GateConfig,
        project_table,
        without_measuring,
    )
    from compress.errors import ConfigError

    given = options.asked(
        {
            "target": target,
            "baseline": baseline,
            "teacher": teacher,
            "student": student,
            "precision": options.comma_list(precision, "--precision"),
            "min_top1": min_top1,
            "max_top1_drop": max_top1_drop,
            "max_quant_drop": max_quant_drop,
            "min_agreement": min_agreement,
            "max_size_kib": max_size_kib,
            "max_latency_ratio": max_latency_ratio,
            "latency_reference": latency_reference,
            "max_p90_ms": max_p90_ms,
            "max_latency_regression": max_latency_regression,
            "max_top1_regression": max_top1_regression,
            "inconclusive": inconclusive,
            "junit": junit,
            "markdown": markdown,
            "data": data,
            "data_dir": data_dir,
            "limit": limit,
            "strict": strict,
            "threads": threads,
            "max_seconds": max_seconds,
            "provider": provider,
            "on": on,
        }
    )
    layers: list[dict[str, Any]] = [project_table(Path("pyproject.toml"))]
    if recipe is not None:
        layers.append(recipes.load(recipe).get("gate", {}))
    if target.endswith(RECORD_SUFFIX):  # standing settings are no request to measure it
        hosts = _hosts(target)
        layers = [without_measuring(layer, hosts=hosts) for layer in layers]
    config = recipes.build(GateConfig, *layers, given)
    _refuse_overwriting(config, json)
    for name in WITH_BASELINE:
        if name in given and config.baseline is None:
            raise ConfigError(
                f"--{name.replace('_', '-')} has nothing to compare with",
                hint="name the artifact or the record before the change with --baseline",
            )

    from compress.render import files
    from compress.render.live import make_progress
    from compress.render.tables.gate import table
    from compress.stages.gate import gate as judge

    with make_progress(quiet) as progress:
        record = judge(config, progress=progress)
    all_of(
        lambda: deliver(record, json=json, table=lambda: table(record)),
        lambda: _write(config.junit, lambda: files.junit(record, inconclusive=config.inconclusive)),
        lambda: _write(config.markdown, lambda: files.markdown(record)),
        lambda: _append_summary(record, os.environ.get("GITHUB_STEP_SUMMARY")),
        lambda: _annotate(record, config.inconclusive),
    )
    raise typer.Exit(record.exit_code)


def _hosts(record: str) -> list[str]:
    """The other machines whose times a record holds."""
    from compress.records.bench import BenchRecord

    return [one.host for one in BenchRecord.read(Path(record)).hosts]


def _refuse_overwriting(config: "GateConfig", json: str | None) -> None:
    """Refuse an output that would replace an input, or another output, before anything is read.

    Raises:
        ConfigError: Two options name one file.
    """
    from compress.errors import ConfigError

    read = {"TARGET": config.target, "--baseline": config.baseline, "--teacher": config.teacher}
    taken = {Path(place.target).resolve(): name for name, place in read.items() if place}
    written = {
        "--json": None if json in (None, "-") else Path(str(json)),
        "--junit": config.junit,
        "--markdown": config.markdown,
    }
    for option, path in written.items():
        if path is None:
            continue
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            raise ConfigError(
                f"{option} {path} would overwrite the file of {other}", hint="write to another file"
            )


def _write(place: Path | None, text: Callable[[], str]) -> None:
    """Write a file where one was asked for."""
    from compress.files import write_text

    if place is not None:
        write_text(place, text())


def _append_summary(record: "GateRecord", place: str | None) -> None:
    """Add to the summary of a job of GitHub Actions."""
    from compress.files import write_error
    from compress.render import files

    if not place:
        return
    try:
        with Path(place).open("a", encoding="utf-8") as stream:
            stream.write(files.markdown(record))
    except OSError as error:
        raise write_error(Path(place), error) from error


def _annotate(record: "GateRecord", inconclusive: str | None) -> None:
    """Say what did not pass where a job of GitHub Actions reads it."""
    from compress.render import files

    if files.in_github_actions(os.environ):
        for line in files.annotations(record, inconclusive=inconclusive):
            # the runner reads both streams; standard output may be a JSON document
            sys.stderr.write(f"{line}\n")
