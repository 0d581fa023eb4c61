"""`compress soft-labels`: flags to a configuration, the stage, its table."""

from typing import Annotated

import typer

from compress.cli import options
from compress.cli.output import deliver, note_recipe, speaks


def soft_labels(
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            "--teacher",
            metavar="REF[:option=value,…]",
            help="A run, a weights file or a model name; repeat for an ensemble. Without it: the "
            "newest complete run of the recipe's teacher on this data, else of resnet50.",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    soft_labels: options.SoftLabels = None,
    soft_labels_limit_mib: options.SoftLabelsLimit = None,
    views: Annotated[
        int | None,
        typer.Option(
            "--views",
            help="How many views to fill [default: the recipe's views or epochs, else 10].",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    unlabelled: options.Unlabelled = None,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    split_seed: options.SplitSeed = None,
    view_seed: options.ViewSeed = None,
    batch_size: options.BatchSize = None,
    recipe: options.Recipe = None,
    device: options.Device = None,
    amp: options.Amp = None,
    workers: options.Workers = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Compute a teacher's answers ahead of time, for students trained later or elsewhere."""
    given = options.asked(
        {
            **locals(),
            "augment": None,
            "augmentation": options.pairs(augment, "--augment"),
            "json": None,
            "quiet": None,
        }
    )
    from compress.config.soft_labels import soft_labels_config

    config = soft_labels_config(given)

    from compress.render.live import make_progress
    from compress.render.tables.soft_labels import table
    from compress.stages.soft_labels import soft_labels as stage

    with make_progress(quiet or not speaks()) as progress:
        note_recipe(progress, config.teacher_training.recipe)
        record = stage(config, progress=progress)
    deliver(record, json=json, table=lambda: table(record))
