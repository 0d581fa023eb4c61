"""`compress train`: flags to a configuration, the stage, its table."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.cli import options
from compress.cli.output import deliver_training, note_recipe, speaks

if TYPE_CHECKING:
    from compress.records.train import TrainRecord


def train(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME[:option=value,…]",
            help="What to train [default: the recipe's, else resnet50].",
            rich_help_panel=options.MODELS,
        ),
    ] = None,
    initial_weights: options.InitialWeights = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
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
    """Train a model on labels alone: a teacher, for example."""
    given = options.asked(
        {
            **locals(),
            "augment": None,
            "augmentation": options.pairs(augment, "--augment"),
            "seeds": options.comma_list(seeds, "--seeds"),
            "json": None,
            "quiet": None,
        }
    )
    from compress.config import recipes
    from compress.config.train import TrainConfig

    config = recipes.build(TrainConfig, *recipes.layers("train", given))

    from compress.cli.drawing import draw, watching
    from compress.render.live import make_progress
    from compress.render.tables.train import table
    from compress.runs import RUNS
    from compress.stages.train import train as stage
    from compress.stages.training_run import named_folder

    with make_progress(quiet or not speaks()) as progress:
        if not config.resume:
            note_recipe(progress, config.recipe)
        place = named_folder(config, "train")
        watch = watching(tensorboard=tensorboard, progress=progress)
        record = stage(config, progress=progress, flags=given, watch=watch)
        folder = place or RUNS / record.run
        if speaks():
            draw(folder, record.models, None, tensorboard=tensorboard, progress=progress)
        progress.note(f"next: {shlex.join(_taught_by(folder, record, config.data_dir))}")
    deliver_training(record, json=json, table=lambda: table(record))


def _taught_by(folder: Path, record: "TrainRecord", data_dir: Path | None) -> list[str]:
    """The command in which what was trained teaches: on the same images, one model of several."""
    from compress.config.train import TrainConfig
    from compress.runs import read_manifest

    one = f":student={record.models[0].label}" if len(record.models) > 1 else ""
    command = ["compress", "distill", "--teacher", f"{folder}{one}"]
    asked = read_manifest(folder).config
    # the recipe named like the data is taken without being named
    own = ("recipe",) if asked.get("recipe") != asked["data"] else ()
    for key in (*own, "data", "image_size", "split_seed"):
        default = TrainConfig.model_fields[key].default
        if asked.get(key, default) != default:
            command += [f"--{key.replace('_', '-')}", str(asked[key])]
    return [*command, *(["--data-dir", str(data_dir)] if data_dir else [])]
