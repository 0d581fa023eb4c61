"""Options that several commands share, spelled and explained once."""

from pathlib import Path
from typing import Annotated, Any

import typer

DATA = "Data"
MODELS = "Models"
LEARNING = "Learning"
MACHINE = "Machine"
RUN = "Run"
OUTPUT = "Output"

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME|FOLDER",
        help="digits, cifar10, cifar100, or a folder of train/<class>/* and test/<class>/* "
        "[default: the recipe's, else digits].",
        rich_help_panel=DATA,
    ),
]
InitialWeights = Annotated[
    str | None,
    typer.Option(
        "--initial-weights",
        metavar="REF[:option=value,…]",
        help="Weights to begin with: a run, whose model of the same label is taken, "
        "RUN:student=LABEL, or a weights file; none draws them by the seed "
        "[default: the recipe's, else none].",
        rich_help_panel=MODELS,
    ),
]
Unlabelled = Annotated[
    str | None,
    typer.Option(
        "--unlabelled",
        metavar="NAME|FOLDER",
        help="More images for the teacher to answer and the students to learn from: the training "
        "images of a data set, or all pictures of a folder (of train/ and test/: those of train/); "
        "their labels are not used.",
        rich_help_panel=DATA,
    ),
]
MeasuredData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="NAME|FOLDER",
        help="Images to measure accuracy on: a name, or a folder of test/<class>/* "
        "[default: what the artifact names].",
        rich_help_panel=DATA,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="The folder where CIFAR lies, or is downloaded to by what needs training images; "
        "later commands find it again [default: looked for in $COMPRESS_DATA and the cache, "
        "downloaded to the cache].",
        rich_help_panel=DATA,
    ),
]
Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE|-",
        help="Write the result as JSON; - is standard output, instead of the table.",
        rich_help_panel=OUTPUT,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", help="No progress and no notes.", rich_help_panel=OUTPUT)
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="A recipe to start from [default: the one named like the data].",
        rich_help_panel=RUN,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        help="Where to compute [default: auto].",
        rich_help_panel=MACHINE,
    ),
]
Amp = Annotated[
    str | None,
    typer.Option(
        "--amp",
        metavar="auto|off|bf16|fp16",
        help="Number format; auto measures [default: auto].",
        rich_help_panel=MACHINE,
    ),
]
SyncBatchnorm = Annotated[
    bool,
    typer.Option(
        "--sync-batchnorm",
        help="With torchrun on CUDA: BatchNorm over the whole batch, not over each rank's share.",
        rich_help_panel=MACHINE,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="Threads that prepare batches; 0 leaves it to the device [default: 0].",
        rich_help_panel=MACHINE,
    ),
]

BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        help="Images per step [default: the recipe's, else 128].",
        rich_help_panel=LEARNING,
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        "--image-size",
        help="Resize the images to this many pixels a side "
        "[default: the recipe's, else as they are].",
        rich_help_panel=DATA,
    ),
]
SplitSeed = Annotated[
    int | None,
    typer.Option(
        "--split-seed", help="Names the validation split [default: 0].", rich_help_panel=DATA
    ),
]
ViewSeed = Annotated[
    int | None,
    typer.Option(
        "--view-seed", help="Names the family of views [default: 0].", rich_help_panel=DATA
    ),
]
Augment = Annotated[
    list[str] | None,
    typer.Option(
        "--augment",
        metavar="KEY=VALUE",
        help="What a view does, beside the recipe's: crop_padding=4, flip=true, mixup=0.2 …",
        rich_help_panel=DATA,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        help="Sweeps over the training images [default: the recipe's, else 20].",
        rich_help_panel=LEARNING,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        help="Peak learning rate [default: the recipe's, else 0.05].",
        rich_help_panel=LEARNING,
    ),
]
Optimizer = Annotated[
    str | None,
    typer.Option(
        "--optimizer",
        metavar="sgd|adamw",
        help="SGD has Nesterov momentum [default: the recipe's, else sgd].",
        rich_help_panel=LEARNING,
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        "--schedule",
        metavar="cosine|one-cycle|multi-step",
        help="Of the learning rate [default: the recipe's, else cosine].",
        rich_help_panel=LEARNING,
    ),
]
WeightDecay = Annotated[
    float | None,
    typer.Option(
        "--weight-decay",
        help="Off biases and normalisation layers [default: the recipe's, else 0.0005].",
        rich_help_panel=LEARNING,
    ),
]
LabelSmoothing = Annotated[
    float | None,
    typer.Option(
        "--label-smoothing",
        help="Of the cross-entropy with true labels [default: the recipe's, else 0.0].",
        rich_help_panel=LEARNING,
    ),
]
Ema = Annotated[
    float | None,
    typer.Option(
        "--ema-decay",
        help="Keep a moving average of the weights; 0 is off [default: the recipe's, else 0.0].",
        rich_help_panel=LEARNING,
    ),
]
Select = Annotated[
    str | None,
    typer.Option(
        "--select",
        metavar="best|last",
        help="Keep the epoch with the best validation accuracy, or the last one "
        "[default: the recipe's, else best].",
        rich_help_panel=LEARNING,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help="Initialisation and dropout [default: the recipe's, else 0].",
        rich_help_panel=LEARNING,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="0,1,2",
        help="Several seeds in one run [default: the recipe's, else --seed].",
        rich_help_panel=LEARNING,
    ),
]
Views = Annotated[
    int | None,
    typer.Option(
        "--views",
        help="Sweeps of teacher work: epoch e uses view e mod views "
        "[default: the recipe's, else one per epoch].",
        rich_help_panel=DATA,
    ),
]
RunDir = Annotated[
    Path | None,
    typer.Option("--run-dir", help="Instead of runs/<id>.", rich_help_panel=RUN),
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="RUN|last",
        help="Go on with a run begun before; last is the newest of this command.",
        rich_help_panel=RUN,
    ),
]
Restart = Annotated[
    bool,
    typer.Option("--restart", help="Begin anew, whatever is there.", rich_help_panel=RUN),
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option(
        "--checkpoint-every",
        help="Steps between checkpoints inside an epoch; 0 is at its end only [default: 0].",
        rich_help_panel=RUN,
    ),
]
Tensorboard = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        help="Write TensorBoard event files into the run, after every epoch.",
        rich_help_panel=OUTPUT,
    ),
]
SoftLabels = Annotated[
    Path | None,
    typer.Option(
        "--soft-labels",
        metavar="DIR",
        help="Folder of stored teacher answers [default: the user's cache].",
        rich_help_panel=MODELS,
    ),
]
SoftLabelsLimit = Annotated[
    int | None,
    typer.Option(
        "--soft-labels-limit-mib",
        help="Size it may grow to; least recently used goes first [default: 4096].",
        rich_help_panel=MODELS,
    ),
]


def pairs(items: list[str] | None, option: str) -> dict[str, str] | None:
    """Split repeated `KEY=VALUE`; None stays None.

    Raises:
        typer.BadParameter: One has no `=`, or a key comes twice.
    """
    if not items:
        return None
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key or not value:
            raise typer.BadParameter(f"{option} {item!r} is not KEY=VALUE")
        if key in found:
            raise typer.BadParameter(f"{option} {key} is given twice")
        found[key] = value
    return found


def asked(options: dict[str, Any]) -> dict[str, Any]:
    """The options the user gave: not None, not an empty repeat, not an unset switch."""
    return {
        key: value
        for key, value in options.items()
        if value is not None and value is not False and value != []  # 0 is an answer
    }


def comma_list(text: str | None, option: str, *, separator: str = ",") -> list[str] | None:
    """Split `a,b,c`, or at another separator; None stays None.

    Raises:
        typer.BadParameter: An entry is empty.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(separator)]
    if not all(parts):
        raise typer.BadParameter(f"{option} {text!r} has an empty entry")
    return parts
