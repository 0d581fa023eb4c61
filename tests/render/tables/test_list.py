"""The lists as tables."""

import io

import pytest
from rich.console import Console

from compress.records.list import (
    DataEntry,
    ListRecord,
    LossEntry,
    ModelEntry,
    RecipeEntry,
    RunEntry,
)
from compress.render.tables.list import table

BEGUN = "2026-11-20T08:15:00+01:00"
RECORDS = {
    "models": ListRecord(
        what="models",
        entries=(
            ModelEntry(
                name="mobilenet_v2",
                summary="MobileNetV2 of torchvision (Sandler et al., CVPR 2018).",
                options={"stem_stride": 1, "weights": "none", "width": 1.0},
                parameters=2_236_682,
                macs=87_980_000,
            ),
        ),
    ),
    "losses": ListRecord(
        what="losses",
        entries=(
            LossEntry(
                name="dkd",
                summary="target and other classes apart (Zhao et al., 2022)",
                options={"alpha": 1.0, "beta": 8.0},
                needs_features=False,
                mixed_labels=False,
            ),
            LossEntry(
                name="attention",
                summary="where stages are active",
                options={},
                needs_features=True,
                mixed_labels=True,
            ),
        ),
    ),
    "data": ListRecord(
        what="data",
        entries=(
            DataEntry(
                name="cifar10",
                summary="small photographs; downloaded by train and distill",
                train_images=50_000,
                test_images=10_000,
                classes=10,
                image_size=32,
                found="/data/[x]/cifar-10-batches-bin",
            ),
        ),
    ),
    "recipes": ListRecord(
        what="recipes",
        entries=(
            RecipeEntry(
                name="digits",
                about={
                    "summary": "the demo [x]",
                    "source": "here",
                    "expected_time": "6 minutes",
                    "target": {"student": 0.923, "seeds": 3},
                    "to_beat": ["one", "another"],
                },
            ),
        ),
    ),
    "runs": ListRecord(
        what="runs",
        place="runs",
        entries=(
            RunEntry(
                run="cifar10-small_cnn-0123abcd",
                folder="runs/cifar10-small_cnn-0123abcd",
                status="complete",
                command="distill",
                data="cifar10",
                begun=BEGUN,
                epochs_done=20,
                epochs=20,
                best="small_cnn",
                top1=0.9186,
            ),
            RunEntry(
                run="digits-x",
                folder="runs/digits-x",
                status="failed",
                begun=BEGUN,
                epochs_done=3,
                epochs=12,
                reason="the loss became NaN [x]",
                initial_weights="runs/first[x]",
            ),
        ),
    ),
}
EXPECTED = {
    "models": ("mobilenet_v2", "stem_stride=1,", "width=1.0", "2.24 M", "88.0 M", "Sandler"),
    "losses": ("dkd", "alpha=1.0, beta=8.0", "stored", "live", "no"),
    "data": ("cifar10", "50,000", "10,000", "32", "[x]"),
    "recipes": (
        *("digits", "the demo [x]", "source: here", "expected time: 6 minutes"),
        *("target: student 92.30%, seeds 3", "to beat: one, another"),
    ),
    "runs": (
        *("cifar10-small_cnn-0123abcd", "complete", "20/20", "small_cnn: 91.86"),
        *("2026-11-20 08:15", "failed", "3/12", "NaN [x]", "begun with", "first[x]"),
    ),
}


def render(renderable: object, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize("what", sorted(RECORDS))
def test_every_fact_is_shown_at_any_width(what: str, width: int) -> None:
    shown = render(table(RECORDS[what]), width)
    assert max(len(line) for line in shown.splitlines()) <= width
    for text in EXPECTED[what]:
        assert text in shown, text


def test_empty_lists_say_so() -> None:
    runs = ListRecord(what="runs", place="runs", entries=())
    assert "no runs in runs/" in render(table(runs), 80)
    soft_labels = ListRecord(what="soft-labels", place="/cache", entries=())
    shown = render(table(soft_labels), 80)
    assert "/cache" in shown
    assert "no soft labels stored" in shown
