"""The lists of `compress list` as tables."""

from collections.abc import Mapping, Sequence
from typing import cast

from rich.console import Group, RenderableType
from rich.text import Text

from compress.config.specs import Scalar, format_options
from compress.records.list import (
    DataEntry,
    ListRecord,
    LossEntry,
    ModelEntry,
    RecipeEntry,
    RunEntry,
)
from compress.records.soft_labels import SoftLabelSet
from compress.render.numbers import ABSENT, amount, percent
from compress.render.tables.fitting import FirstThatFits, Row, grid
from compress.render.tables.soft_labels import sets_table

STATUS_STYLES = {"complete": "green", "running": "cyan", "failed": "red", "damaged": "red"}


def table(record: ListRecord) -> RenderableType:
    """The list, or a line that says it is empty."""
    if record.what == "models":
        return _models(cast("Sequence[ModelEntry]", record.entries))
    if record.what == "losses":
        return _losses(cast("Sequence[LossEntry]", record.entries))
    if record.what == "data":
        return _data(cast("Sequence[DataEntry]", record.entries))
    if record.what == "recipes":
        return _recipes(cast("Sequence[RecipeEntry]", record.entries))
    if record.what == "runs":
        return _runs(cast("Sequence[RunEntry]", record.entries), record.place or "")
    sets = sets_table(cast("Sequence[SoftLabelSet]", record.entries))
    return Group(Text(f"in {record.place}", style="dim"), sets)


def _models(entries: Sequence[ModelEntry]) -> RenderableType:
    heads = ["model", "what it is", "parameters", "MACs"]
    wide: list[Row] = [
        [e.name, e.summary, _options(e.options), amount(e.parameters), amount(e.macs)]
        for e in entries
    ]
    narrow: list[Row] = [
        [e.name, _under(e.summary, _options(e.options)), amount(e.parameters), amount(e.macs)]
        for e in entries
    ]
    return Group(
        FirstThatFits(
            grid([*heads[:2], "options at 32 px", *heads[2:]], wide, left=3),
            grid(heads, narrow, left=2),
        ),
        Text(
            "Parameters and MACs for 10 classes at 32 pixels. "
            "Options go after the name: --student mobilenet_v2:width=0.5",
            style="dim",
        ),
    )


def _losses(entries: Sequence[LossEntry]) -> RenderableType:
    def teacher(entry: LossEntry) -> str:
        return "live" if entry.needs_features else "stored"

    heads = ["loss", "what it compares"]
    wide: list[Row] = [
        [e.name, e.summary, _options(e.options), teacher(e), _yes(e.mixed_labels)] for e in entries
    ]
    narrow: list[Row] = [
        [e.name, _under(e.summary, _options(e.options)), teacher(e), _yes(e.mixed_labels)]
        for e in entries
    ]
    return Group(
        FirstThatFits(
            grid([*heads, "options", "teacher", "mixup"], wide, left=5),
            grid([*heads, "teacher", "mixup"], narrow, left=4),
        ),
        Text(
            "stored: works from soft labels; live: the teacher runs at every step. "
            "Options go after the name: --loss kd:temperature=4,weight=0.9",
            style="dim",
        ),
    )


def _data(entries: Sequence[DataEntry]) -> RenderableType:
    def number(value: int | None) -> str:
        return ABSENT if value is None else f"{value:,}"

    heads = ["data", "what it shows", "train", "test", "classes", "pixels"]
    counts = [
        [number(e.train_images), number(e.test_images), number(e.classes), number(e.image_size)]
        for e in entries
    ]
    here = [e.found or ("not here" if e.train_images else "") for e in entries]
    wide: list[Row] = [
        [e.name, e.summary, place, *count]
        for e, count, place in zip(entries, counts, here, strict=True)
    ]
    narrow: list[Row] = [
        [e.name, _under(e.summary, place), *count]
        for e, count, place in zip(entries, counts, here, strict=True)
    ]
    return FirstThatFits(
        grid([*heads[:2], "found", *heads[2:]], wide, left=3), grid(heads, narrow, left=2)
    )


def _recipes(entries: Sequence[RecipeEntry]) -> RenderableType:
    rows: list[Row] = []
    for entry in entries:
        about = {key: value for key, value in entry.about.items() if key != "summary"}
        lines = [f"{key.replace('_', ' ')}: {_said(value)}" for key, value in about.items()]
        rows.append([entry.name, _under(str(entry.about.get("summary", "")), "\n".join(lines))])
    return grid(["recipe", "about"], rows, left=2) if rows else Text("no recipes installed")


def _said(value: object) -> str:
    """A value of a header: text as it is, accuracies in per cent, names one after another."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key} {f'{percent(part)}%' if isinstance(part, float) else part}"
            for key, part in value.items()
        )
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _runs(entries: Sequence[RunEntry], place: str) -> RenderableType:
    if not entries:
        return Text(f"no runs in {place}/; `compress distill` makes one")
    rows: list[Row] = []
    for e in entries:
        status = Text(e.status, style=STATUS_STYLES.get(e.status, "yellow"))
        if e.reason:
            status.append(f"\n{e.reason}", style="dim")
        if e.initial_weights:
            status.append(f"\nbegun with {e.initial_weights}", style="dim")
        best = f"{e.best}: {percent(e.top1)}" if e.best else ""
        epochs = f"{e.epochs_done}/{e.epochs if e.epochs else '?'}"
        rows.append(
            [e.run, status, e.begun[:16].replace("T", " "), best, e.command or ABSENT, epochs]
        )
    return FirstThatFits(
        grid(["run", "status", "begun", "best, test top-1 %", "command", "epochs"], rows, left=5),
        grid(
            ["run", "status", "epochs"],
            [
                [
                    _under(str(row[0]), "  ".join(filter(None, (str(row[2]), str(row[3]))))),
                    row[1],
                    row[5],
                ]
                for row in rows
            ],
            left=2,
        ),
    )


def _options(options: Mapping[str, Scalar]) -> str:
    """Options as they are written after a name, with room to fold between them."""
    return format_options(options).replace(",", ", ")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _under(text: str, more: str) -> Text:
    """A cell with a second, dim line where there is more to say."""
    return Text.assemble(text, ("\n" + more if text and more else more, "dim"))
