"""`compress distill`: flags to a configuration, the stage, its table."""

import shlex
from typing import Annotated

import typer

from compress.cli import options
from compress.cli.output import deliver_training, note_recipe, speaks


def distill(
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            "--teacher",
            metavar="REF[:option=value,…]",
            help="A run, a weights file or a model name; repeat, or write RUN:students=all, for an "
            "ensemble. Without it: the newest complete run of the recipe's teacher on this data, "
            "else one is trained first.",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    student: Annotated[
        list[str] | None,
        typer.Option(
            "--student",
            metavar="[LABEL=]MODEL[:option=value,…]",
            help="What to train; repeatable "
            "[default: the recipe's, else mobilenet_v2 and small_cnn].",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    initial_weights: options.InitialWeights = None,
    no_control: Annotated[
        bool,
        typer.Option(
            "--no-control",
            help="Do not train each student without a teacher as well.",
            rich_help_panel=options.MODELS,
        ),
    ] = False,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble",
            help="Report the softmax average of the students as a row; of a finished run, too.",
            rich_help_panel=options.MODELS,
        ),
    ] = False,
    group: Annotated[
        int | None,
        typer.Option(
            "--group",
            help="Students trained at the same time; all unless set.",
            rich_help_panel=options.MACHINE,
        ),
    ] = None,
    soft_labels: options.SoftLabels = None,
    soft_labels_limit_mib: options.SoftLabelsLimit = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            "--alpha",
            help="Share of kd in (1-alpha)*CE + alpha*kd [default: the recipe's, else 0.9].",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            help="Softening of kd [default: the recipe's, else 4.0].",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            "--loss",
            metavar="NAME[:weight=W,option=value,…]",
            help="A term of a sum of losses, instead of --alpha; repeatable, or a whole sum: "
            "ce:weight=0.1 + kd:weight=0.9.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    ce_weight: Annotated[
        float | None,
        typer.Option(
            "--ce-weight",
            help="Weight of the cross-entropy beside --loss [default: 1.0].",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            metavar="KEY=V1,V2,…",
            help="Cross every student with the values: alpha, temperature, loss, learning_rate … "
            "(losses with options are separated by ';', "
            "and may be sums: ce:weight=0.1 + kd:weight=0.9). "
            "What a recipe sweeps besides stays.",
            rich_help_panel=options.LEARNING,
        ),
    ] = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    unlabelled: options.Unlabelled = None,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    views: options.Views = None,
    split_seed: options.SplitSeed = None,
    view_seed: options.ViewSeed = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    optimizer: options.Optimizer = None,
    schedule: options.Schedule = None,
    weight_decay: options.WeightDecay = None,
    label_smoothing: options.LabelSmoothing = None,
    ema_decay: options.Ema = None,
    select: options.Select = None,
    seed: options.Seed = None,
    seeds: options.Seeds = None,
    recipe: options.Recipe = None,
    run_dir: options.RunDir = None,
    resume: options.Resume = None,
    restart: options.Restart = False,
    checkpoint_every: options.CheckpointEvery = None,
    device: options.Device = None,
    amp: options.Amp = None,
    workers: options.Workers = None,
    sync_batchnorm: options.SyncBatchnorm = False,
    tensorboard: options.Tensorboard = False,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Teach students from a ResNet50, or any teacher, each beside its control."""
    given = options.asked(
        {
            **locals(),
            "no_control": None,
            "augment": None,
            "augmentation": options.pairs(augment, "--augment"),
            "seeds": options.comma_list(seeds, "--seeds"),
            "sweep": _sweep(sweep),
            "json": None,
            "quiet": None,
        }
    )
    if no_control:
        given["control"] = False
    from compress.config.distill import distill_config

    config = distill_config(given)

    from compress.cli.drawing import draw, watching
    from compress.render.live import make_progress
    from compress.render.tables.distill import table
    from compress.runs import RUNS
    from compress.stages.distill import distill as stage
    from compress.stages.training_run import named_folder

    with make_progress(quiet or not speaks()) as progress:
        if not config.resume:
            note_recipe(progress, config.recipe)
        place = named_folder(config, "distill")
        watch = watching(tensorboard=tensorboard, progress=progress)
        record = stage(config, progress=progress, flags=given, watch=watch)
        folder = place or RUNS / record.run
        if speaks():
            draw(folder, record.students, record, tensorboard=tensorboard, progress=progress)
        progress.note(f"next: {shlex.join(['compress', 'export', str(folder)])}")
    deliver_training(record, json=json, table=lambda: table(record))


def _sweep(items: list[str] | None) -> dict[str, list[str | float | int | bool]] | None:
    """`KEY=V1,V2` repeated; values of losses with options of their own are parted by `;`.

    Raises:
        typer.BadParameter: One is not KEY=VALUE, or an entry is empty.
        ConfigError: A key comes twice.
    """
    found = options.pairs(items, "--sweep")
    if found is None:
        return None
    from compress.config.specs import parse_scalar, underscored

    def values(key: str, text: str) -> list[str | float | int | bool]:
        separator = ";" if ";" in text or (key == "loss" and ":" in text) else ","
        parts = options.comma_list(text, f"--sweep {key}", separator=separator) or []
        return [parse_scalar(part) for part in parts]

    return {key: values(key, text) for key, text in underscored(found, "--sweep").items()}
