"""The table of a training run."""

import io
import re

import pytest
from rich.console import Console

from compress.records.distill import SummaryRow
from compress.records.train import TrainRecord
from compress.render.tables.train import table
from tests.fake_run import ENVIRONMENT, student, summary_row


def train_record(labels: tuple[str, ...], summary: tuple[SummaryRow, ...] = ()) -> TrainRecord:
    return TrainRecord(
        run="cifar10-resnet56-0",
        data="cifar10",
        train_images=45_000,
        val_images=5_000,
        test_images=10_000,
        epochs=20,
        models=tuple(student(label, role="control", top1=0.9339) for label in labels),
        summary=summary,
        seconds=4000.0,
        environment=ENVIRONMENT,
    )


def render(renderable: object, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_figure_of_a_model_is_in_its_row() -> None:
    shown = render(table(train_record(("resnet56",))), 160)
    line = next(line for line in shown.splitlines() if line.strip().startswith("resnet56"))
    assert re.split(r"\s{2,}", line.strip()) == [
        *("resnet56", "93.39", "92.39-94.39", "93.29", "93.59", "98.39", "18"),
        *("2.10", "853 k", "125 M", "20.6 min"),
    ]


@pytest.mark.parametrize(
    ("select", "words"),
    [
        ("best", "at the epoch with the best validation top-1; last: at the last epoch."),
        ("last", "at the last epoch, whatever its validation top-1."),
    ],
)
def test_the_note_says_which_epoch_the_figures_are_of(select: str, words: str) -> None:
    record = train_record(("resnet56",))
    row = record.models[0].model_copy(update={"select": select})
    shown = render(table(record.model_copy(update={"models": (row,)})), 200)
    assert f"Top-1 in per cent of the test images, {words} Ranges" in " ".join(shown.split())


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_terminal(width: int) -> None:
    shown = render(table(train_record(("resnet56-s0", "resnet56-s1"))), width)
    assert max(len(line) for line in shown.splitlines()) <= width
    assert "92.39-94.39" in shown
    assert "20.6 min" in shown


def test_a_model_trained_alone_is_no_control_to_anybody() -> None:
    summary = summary_row(
        "resnet56",
        role="control",
        seeds=2,
        top1_mean=0.93,
        top1_sd=0.002,
        last_top1_mean=0.929,
        last_top1_sd=0.003,
    )
    shown = render(table(train_record(("resnet56-s0", "resnet56-s1"), (summary,))), 120)
    assert "93.00 ± 0.20" in shown
    assert "control" not in shown
    assert "KD" not in shown
