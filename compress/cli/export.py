"""`compress export`: flags to a configuration, the stage, its table."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from compress.cli import options
from compress.cli.output import deliver

FORMS = "Forms"


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|last|FILE[:option=value,…]",
            help="A complete run, or a weights file: FILE:model=NAME,normalization=NAME.",
        ),
    ],
    student: Annotated[
        list[str] | None,
        typer.Option(
            "--student",
            metavar="LABEL",
            help="What to export; may repeat [default: every student that is no control].",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    no_teacher: Annotated[
        bool,
        typer.Option("--no-teacher", help="Leave the teacher out.", rich_help_panel=options.MODELS),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="NAME|FOLDER",
            help="Images to calibrate and measure with; a weights file needs it "
            "[default: the run's].",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    data_dir: options.DataDir = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="fp32,int8,fp16",
            help="Forms to write; fp32 is always among them [default: fp32,int8].",
            rich_help_panel=FORMS,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="portable|vnni|arm64",
            help="CPUs that int8 is for; portable is right on all of them [default: portable].",
            rich_help_panel=FORMS,
        ),
    ] = None,
    input: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="uint8-nhwc|float-nchw",
            help="Pixels, normalised in the graph, or normalised floats [default: uint8-nhwc].",
            rich_help_panel=FORMS,
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            "--batch",
            metavar="1|dynamic",
            help="Images per call [default: 1].",
            rich_help_panel=FORMS,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="logits|softmax|top-k",
            help="What the graph answers [default: logits].",
            rich_help_panel=FORMS,
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k",
            help="Classes that --output top-k answers [default: 5].",
            rich_help_panel=FORMS,
        ),
    ] = None,
    ort: Annotated[
        bool,
        typer.Option(
            "--ort",
            help="Also write ONNX Runtime's own format, for its smallest builds.",
            rich_help_panel=FORMS,
        ),
    ] = False,
    max_quant_drop: Annotated[
        float | None,
        typer.Option(
            "--max-quant-drop",
            help="Top-1 that int8 may lose; layers stay in float to hold it [default: 0.01].",
            rich_help_panel=FORMS,
        ),
    ] = None,
    calibration_images: Annotated[
        int | None,
        typer.Option(
            "--calibration-images",
            help="Training images that int8 ranges are measured on, all where there are fewer "
            "[default: 300].",
            rich_help_panel=FORMS,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where to write [default: exported/<id of the run>].",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace an artifact of another run.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Turn a run's students and teacher into checked, quantized ONNX artifacts."""
    given = options.asked(
        {
            **locals(),
            "precision": options.comma_list(precision, "--precision"),
            "no_teacher": None,
            "json": None,
            "quiet": None,
        }
    )
    if no_teacher:
        given["teacher"] = False
    from compress.config import recipes
    from compress.config.export import ExportConfig

    config = recipes.build(ExportConfig, given)

    from compress.errors import UnusableError
    from compress.render.live import make_progress
    from compress.render.tables.export import table
    from compress.stages.export import export as stage

    with make_progress(quiet) as progress:
        record = stage(config, progress=progress)
        if not record.problems:
            place = Path(record.artifacts[0].folder).parent
            progress.note(f"next: {shlex.join(['compress', 'bench', str(place)])}")
    deliver(record, json=json, table=lambda: table(record))
    if record.problems:
        more = f" (and {len(record.problems) - 1} more)" if len(record.problems) > 1 else ""
        raise UnusableError(
            record.problems[0] + more,
            hint="what could be proven was written; where accuracy was lost, a higher "
            "--max-quant-drop or a longer training helps",
        )
