"""Run the published recipes one after another and keep what they gave.

    COMPRESS_DATA=DIR python benchmarks/run_recipes.py --list
    COMPRESS_DATA=DIR python benchmarks/run_recipes.py --minutes 110

Each item is a teacher (trained by `compress train`, where it does not come from outside) and one
`compress distill`. Both resume by themselves, so this script may be stopped at any time: by Ctrl-C,
or by itself when its minutes are spent. What is complete is not run again with the same flags. It
is written to benchmarks/records/NAME.json, its curves to NAME.png beside it, with other epochs than
the item's own to a name that ends in them; docs/results.md is made from these files by
docs/make_results.py. An item whose students another one takes up, as teachers or to teach them on,
is run again where its record is here and its run is not, until the other has its record, too. The
published ResNet-56 is taken from $COMPRESS_TEACHERS. One training at a time, and nothing beside it:
what a killed script left at work in an item's run is waited for.
"""

import argparse
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recipe_budget import Budget
from recipe_items import ITEMS, Item, Records, epochs_of

from compress.config import recipes
from compress.errors import CompressError, ConfigError, InputError, UnusableError
from compress.files import write_text
from compress.progress import Silent
from compress.records.distill import DistillRecord
from compress.records.recipe import RecipeRecord
from compress.records.train import TrainRecord
from compress.runs import RECORD, is_complete, read_epochs, read_manifest
from compress.stages.ensembles import with_averages

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "benchmarks" / "records"
RESNET56 = "resnet56-cifar10.safetensors"
DESCRIBED = "model=resnet56,normalization=imagenet"
INTERRUPTED = 130
CURVES = Path("plots", "curves.png")


@dataclass(frozen=True)
class Step:
    """One command and where its record will lie.

    Attributes:
        arguments: After `compress`.
        folder: Its run directory.
    """

    arguments: list[str]
    folder: Path


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Attributes:
        runs: Run directories.
        records: What is kept.
        teachers: Folder of the published ResNet-56; None where it is not here.
    """

    runs: Path
    records: Path
    teachers: Path | None


def kept(item: Item, changes: Sequence[str], places: Places) -> RecipeRecord | None:
    """The record of an item with just these changes; None where there is none.

    One of a recipe that has changed since is none. Records that were shortened once had the name
    of whole ones.
    """
    for folder in (places.records, RECORDS):
        for name in dict.fromkeys((item.record_name(changes), item.name)):
            path = folder / f"{name}.json"
            if path.is_file():
                record = RecipeRecord.read(path)
                same = record.recipe_sha256 in {None, recipes.sha256(item.recipe)}
                if same and record.recipe == item.recipe and record.changes == shlex.join(changes):
                    return record
    return None


def read_records(places: Places) -> dict[str, RecipeRecord]:
    """The records of items that were run whole, by item."""
    found: dict[str, RecipeRecord] = {}
    for item in ITEMS:
        if all(name in found for name in item.needs):
            record = kept(item, item.changes(found, gpu=True, epochs=None), places)
            if record is not None:
                found[item.name] = record
    return found


def lacks_members(item: Item, places: Places) -> bool:
    """Whether the students that an item takes up are not here: their record does not do."""
    return item.follows is not None and not is_complete(places.runs / item.follows)


def pupils(item: Item, changes: Sequence[str], records: Records, places: Places) -> list[str]:
    """The items left that take up the students of an item's run, where that is not complete."""
    if item.record_name(changes) != item.name or is_complete(places.runs / item.name):
        return []
    return [one.name for one in ITEMS if one.follows == item.name and one.name not in records]


def is_done(item: Item, changes: Sequence[str], records: Records, places: Places) -> bool:
    """Whether nothing of an item is to be run: it has its record, and nobody needs its run.

    Args:
        item: What to look for.
        changes: As flags.
        records: Of what was run whole.
        places: Where things lie.
    """
    has_record = kept(item, changes, places) is not None
    return has_record and not pupils(item, changes, records, places)


def changes_now(item: Item, records: Records, *, gpu: bool, epochs: int | None) -> list[str]:
    """The flags an item would be run with now.

    Args:
        item: Its needs have records.
        records: Of what was run whole; a machine shortens nothing that is among it.
        gpu: Whether it will run on a GPU.
        epochs: Asked for by hand.
    """
    return item.changes(records, gpu=gpu or item.name in records, epochs=epochs)


def steps_of(item: Item, changes: Sequence[str], places: Places) -> list[Step]:
    """The commands of an item.

    Raises:
        InputError: The published ResNet-56 is not here.
    """
    folder = places.runs / item.record_name(changes)
    epochs = epochs_of(changes)
    steps = []
    if item.outside:
        if places.teachers is None or not (places.teachers / RESNET56).is_file():
            raise InputError(
                f"{item.name} needs the published {RESNET56}",
                hint="set COMPRESS_TEACHERS to its folder",
            )
        teacher = f"{places.teachers / RESNET56}:{DESCRIBED}"
    elif item.members:
        teacher = f"{places.runs / item.members}:students=all"
    else:
        own = folder.with_name(f"{folder.name}-teacher")
        fewer = ["--epochs", str(epochs)] if epochs else []
        train = ["train", "--recipe", item.recipe, *fewer, "--run-dir", str(own)]
        steps.append(Step(train, own))
        teacher = str(own)
    distill = ["distill", "--recipe", item.recipe, "--teacher", teacher, *changes]
    if item.begins_with:
        distill += ["--initial-weights", str(places.runs / item.begins_with)]
    return [*steps, Step([*distill, "--run-dir", str(folder)], folder)]


def shown(arguments: Sequence[str], places: Places) -> str:
    """A command as others can run it: without the places of this machine."""
    return _without_places(shlex.join(["compress", *arguments]), places)


def _without_places(text: str, places: Places) -> str:
    for folder, name in ((places.runs, "runs"), (places.teachers, "")):
        if folder is not None:
            text = text.replace(f"{folder}/", f"{name}/" if name else "")
    return text


def state_of(folder: Path) -> str:
    """How far a run is, in a few words."""
    try:
        manifest = read_manifest(folder)
    except InputError:
        return "not begun"
    if manifest.status == "complete":
        return "complete"
    done = [record.epoch for record in read_epochs(folder)]
    return f"{manifest.status}, epoch {max(done, default=0)} of {manifest.config['epochs']}"


def result_of(item: Item, changes: Sequence[str], folder: Path, places: Places) -> DistillRecord:
    """The record of a complete run, with averages where they are asked for.

    A run that was made without them does not keep them. Places of this machine are left out.
    """
    result = DistillRecord.read(folder / RECORD)
    if result.initial_weights is not None:
        begun = _without_places(result.initial_weights, places)
        result = result.model_copy(update={"initial_weights": begun})
    if "--ensemble" in changes or recipes.load(item.recipe)["distill"].get("ensemble"):
        return with_averages(result, folder, Silent())
    return result


def run_item(
    item: Item,
    changes: Sequence[str],
    places: Places,
    budget: Budget,
    more: Sequence[str],
    *,
    remark: str = "",
) -> int:
    """Run an item from where it stands and keep its record; returns the last exit code.

    Args:
        item: What to run.
        changes: As flags.
        places: Where things lie.
        budget: The time left.
        more: Flags that change nothing but the machine.
        remark: Kept with the record.
    """
    steps = steps_of(item, changes, places)
    recipe = recipes.sha256(item.recipe)
    for step in steps:
        budget.wait_for(step.folder)
        if budget.is_over():
            return INTERRUPTED
        text = shown(step.arguments, places)
        print(f"== {item.name}: {text}", file=sys.stderr, flush=True)
        # a step that is complete only shows its table
        code = budget.run([sys.executable, "-m", "compress", *step.arguments, *more])
        if code and not (code == UnusableError.exit_code and is_complete(step.folder)):
            return code
    if recipes.sha256(item.recipe) != recipe:
        raise ConfigError(
            f"the recipe {item.recipe} changed while it was run: no record is kept",
            hint=f"bring it back, or begin anew: --only {item.name} --restart",
        )
    record = RecipeRecord(
        name=item.record_name(changes),
        recipe=item.recipe,
        recipe_sha256=recipe,
        changes=shlex.join(changes),
        commands=tuple(shown(step.arguments, places) for step in steps),
        teacher=TrainRecord.read(steps[0].folder / RECORD) if len(steps) > 1 else None,
        result=result_of(item, changes, steps[-1].folder, places),
        remark=remark,
    )
    write_text(places.records / f"{record.name}.json", record.to_json())
    curves = steps[-1].folder / CURVES
    if curves.is_file():
        shutil.copyfile(curves, places.records / f"{record.name}.png")
    header = f", then name it in the header of {item.recipe}.toml" if not changes else ""
    print(
        f"== {record.name}: done; now run docs/make_results.py{header}", file=sys.stderr, flush=True
    )
    return 0


def show(items: Sequence[Item], places: Places, *, gpu: bool, epochs: int | None) -> None:
    """Print what is done and what is left."""
    records = read_records(places)
    for item in items:
        missing = [name for name in item.needs if name not in records]
        if missing:
            print(f"later  {item.name}: after {', '.join(missing)}")
            continue
        changes = changes_now(item, records, gpu=gpu, epochs=epochs)
        if is_done(item, changes, records, places):
            print(f"done   {item.record_name(changes)}")
            continue
        if lacks_members(item, places):
            print(f"later  {item.name}: after {item.follows}, whose run is not complete here")
            continue
        try:
            steps = steps_of(item, changes, places)
        except InputError as error:
            print(f"left   {item.name}: {error.message}")
            continue
        line = ", then ".join(f"{step.arguments[0]} {state_of(step.folder)}" for step in steps)
        if kept(item, changes, places) is not None:
            line += f"; has its record, but {', '.join(pupils(item, changes, records, places))} "
            line += "needs its run"
        print(f"left   {item.name}: {line}{'; made for a GPU' if item.gpu and not gpu else ''}")


def has_gpu(device: str | None) -> bool:
    """Whether training will run on a GPU."""
    if device is not None:
        return device == "cuda"
    import torch

    return torch.cuda.is_available()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="say what is done and what is left")
    parser.add_argument(
        "--only", metavar="NAME", choices=[item.name for item in ITEMS], help="this item alone"
    )
    parser.add_argument("--minutes", type=float, help="stop politely after so many minutes")
    parser.add_argument(
        "--epochs", type=int, help="with --only: instead of the recipe's, teacher included"
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="with --only: begin its runs anew, as where its recipe changed since",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="instead of the best there is")
    parser.add_argument(
        "--remark", default="", help="kept with the records, such as what disturbed the times"
    )
    parser.add_argument("--runs", type=Path, help="instead of runs/ in the checkout")
    parser.add_argument("--records", type=Path, default=RECORDS, help="where records are written")
    options = parser.parse_args(arguments)
    if options.only is None and (options.epochs is not None or options.restart):
        parser.error("--epochs and --restart go with --only")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run the items that are left.

    Returns:
        0, also when the minutes are spent; 130 after a signal; else the first failure's code.
    """
    options = parse(arguments)
    teachers = os.environ.get("COMPRESS_TEACHERS")
    places = Places(
        runs=options.runs.resolve() if options.runs else Path("runs"),
        records=options.records.resolve(),
        teachers=Path(teachers).resolve() if teachers else None,
    )
    for name in ("COMPRESS_DATA", "COMPRESS_CACHE"):
        if name in os.environ:
            os.environ[name] = str(Path(os.environ[name]).resolve())
    os.chdir(ROOT)
    gpu = has_gpu(options.device)
    chosen = [item for item in ITEMS if options.only in (None, item.name)]
    if options.list:
        show(chosen, places, gpu=gpu, epochs=options.epochs)
        return 0
    budget = Budget(options.minutes)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup has hangups ignored: they stay so
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, budget.interrupt)
    more = ["--device", options.device] if options.device else []
    more += ["--restart"] if options.restart else []
    failed = 0
    for item in chosen:
        records = read_records(places)
        if item.gpu and not gpu and options.only is None:
            continue
        if budget.is_over() or any(name not in records for name in item.needs):
            continue
        changes = changes_now(item, records, gpu=gpu, epochs=options.epochs)
        if is_done(item, changes, records, places) or lacks_members(item, places):
            continue
        try:
            code = run_item(item, changes, places, budget, more, remark=options.remark)
        except CompressError as error:
            print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
            code = error.exit_code
        if code != INTERRUPTED or not budget.is_over():
            failed = failed or code
    show(chosen, places, gpu=gpu, epochs=options.epochs)
    return INTERRUPTED if budget.interrupted else failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
