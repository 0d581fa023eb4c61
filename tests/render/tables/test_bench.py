"""The table of a bench."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from compress.records.bench import BenchRecord, ClassAccuracy, HostRow, HostTimes
from compress.render.tables.bench import factor, milliseconds, table
from tests.fake_bench import DATA, MACHINE, drop, ratio, record, row


def render(found: BenchRecord, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(found))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line(shown: str, start: str) -> list[str]:
    found = next(text for text in shown.splitlines() if text.strip().startswith(start))
    return re.split(r"\s{2,}", found.strip())


def test_every_figure_of_a_model_is_in_its_row() -> None:
    student = row(ece=0.012, limit_ratio=1.26, peak_memory_bytes=85 << 20)
    shown = render(record(student), 200)
    assert line(shown, "small") == [
        *("small", "fp32", "300.0 KiB", "290 k", "38.6 M", "93.00", "92.50-93.50", "95.00"),
        *("1.2", "1.00", "1.20", "2.00", "4.00x", "1.26x", "85.0 MiB"),
    ]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_it_fits_the_terminal_and_keeps_the_contracts_columns(width: int) -> None:
    long = row("mobilenet_v2-a0.5-t4-learning_rate0.05-s0", role="control")
    shown = render(record(long, row(precision="int8")), width)
    assert max(len(text) for text in shown.splitlines()) <= width
    for figure in ("300.0 KiB", "290 k", "38.6 M", "93.00", "1.00", "1.20", "2.00", "4.00x"):
        assert figure in shown
    assert "control" in shown or "no KD" in shown
    assert "teacher" in shown


def test_what_was_not_measured_is_a_dash() -> None:
    student = row(top1=None, p50_ms=None, p90_ms=None, p99_ms=None, speedup=None, macs=None)
    assert line(render(record(student), 100), "small") == [
        *("small", "fp32", "300.0 KiB", "290 k", "-", "-", "-", "-", "-", "-"),
    ]


def test_a_form_that_was_not_timed_says_why_and_where_its_accuracy_comes_from() -> None:
    untimed: dict[str, Any] = {"p50_ms": None, "not_timed": "made for vnni"}
    shown = render(record(row(precision="int8", **untimed)), 120)
    assert (
        "small int8: latency not measured here: made for vnni; its accuracy is that of a run "
        "without saturation." in " ".join(shown.split())
    )
    assert "accuracy" not in render(record(row(top1=None, **untimed)), 120)


def test_the_times_are_said_to_be_warm() -> None:
    assert "warm: the first call of each turn is not counted" in render(record(row()), 200)


def test_an_unstable_median_is_marked_and_explained() -> None:
    shown = render(record(row(unstable=True)), 120)
    assert "~1.00" in shown
    assert "~ unstable" in shown
    assert "unstable" not in render(record(row()), 120)


def test_the_heading_says_where_and_on_what() -> None:
    part = DATA.model_copy(update={"images": 500})
    shown = render(record(row(), data=part, threads=2), 120)
    assert shown.splitlines()[0] == (
        "Example CPU: 2 threads, ONNX Runtime 1.31.1; cifar10, 500 of 10,000 test images"
    )


def test_forms_are_compared_in_words() -> None:
    int8 = row(
        precision="int8",
        fp32_ratio=ratio(0.6, to="small fp32"),
        fp32_difference=drop(0.0005, to="small fp32"),
    )
    shown = render(record(row(), int8), 120)
    assert "small int8 takes 0.600x the time of fp32 (0.594 to 0.606)." in shown
    assert "small int8 is -0.05 points from small fp32 (-0.25 to +0.15; McNemar p = 0.5)." in shown


def test_another_machine_is_one_more_column() -> None:
    there = HostTimes(
        host="pi",
        rows=(
            HostRow(name="small", precision="fp32", p50_ms=12.34),
            HostRow(name="big", precision="fp32", p50_ms=99.0, unstable=True),
            HostRow(name="small", precision="int8", not_timed="it saturates there"),
        ),
        ruler_sha256="r",
        environment=MACHINE.model_copy(update={"cpu": "Cortex-A72"}),
    )
    shown = render(record(row(), row("other"), hosts=(there,)), 120)
    assert line(shown, "small")[-1] == "12.3"
    assert line(shown, "big")[-1] == "~99.0"
    assert line(shown, "other")[-1] == "-"
    assert "small int8: latency not measured on pi: it saturates there." in shown
    assert "~ unstable" in shown
    assert "pi: Cortex-A72" in shown


def test_classes_have_a_table_of_their_own_when_asked_for() -> None:
    classes = (
        ClassAccuracy(name="cat", images=1000, top1=0.861),
        ClassAccuracy(name="dog", images=0, top1=None),
    )
    shown = render(record(row(per_class=classes)), 120)
    assert "Top-1 by class" in shown
    assert line(shown, "cat") == ["cat", "1000", "86.10"]
    assert line(shown, "dog") == ["dog", "0", "-"]
    assert "by class" not in render(record(row()), 120)


@pytest.mark.parametrize("width", [80, 132, 200])
def test_classes_of_many_models_are_whole_in_several_tables(width: int) -> None:
    """The teacher and ten students of two forms: 21 columns of figures that are all different."""
    names = ("airplane", "automobile", "truck")

    def classes(number: int) -> tuple[ClassAccuracy, ...]:
        return tuple(
            ClassAccuracy(name=name, images=1000, top1=(9000 + 10 * number + place) / 10_000)
            for place, name in enumerate(names)
        )

    forms = [(letter, form) for letter in "abcdefghij" for form in ("fp32", "int8")]
    models = [
        row(f"small_cnn-{letter}1", form, per_class=classes(number))
        for number, (letter, form) in enumerate(forms, 1)
    ]
    found = record(*models)
    teacher = found.models[0].model_copy(update={"per_class": classes(0)})
    shown = render(found.model_copy(update={"models": (teacher, *models)}), width)
    assert max(len(text) for text in shown.splitlines()) <= width
    shown = shown[shown.index("Top-1 by class") : shown.index("Latency in ms")]
    assert "…" not in shown
    lines = [text.split() for text in shown.splitlines()]
    heads = [word for words in lines if words[:1] != ["Class"] for word in words if "small" in word]
    assert heads == [f"small_cnn-{letter}1" for letter, _ in forms]
    of_forms = [word for words in lines if words[:1] == ["Class"] for word in words[1:]]
    assert of_forms == ["Images", "fp32", *(form for _, form in forms)]
    for place, name in enumerate(names):
        cells = [word for words in lines if words[:1] == [name] for word in words[1:]]
        assert cells == ["1000", *(f"{90 + (10 * n + place) / 100:.2f}" for n in range(21))]


@pytest.mark.parametrize("width", [80, 132])
@pytest.mark.parametrize("host", ["user@raspberrypi4-kitchen.lab.example.org", "h" * 60])
def test_machines_with_long_names_take_no_room_from_figures(host: str, width: int) -> None:
    times = [(host, 12.3), ("other." + host, 45.6), ("third." + host, 78.9)]
    hosts = tuple(
        HostTimes(
            host=name,
            rows=(HostRow(name="small", precision="fp32", p50_ms=p50),),
            ruler_sha256="r",
            environment=MACHINE,
        )
        for name, p50 in times
    )
    for count in (1, 3):
        shown = render(record(row(), hosts=hosts[:count]), width)
        assert max(len(text) for text in shown.splitlines()) <= width
        assert "…" not in shown
        cells = [text.split() for text in shown.splitlines()]
        named = [cell for words in cells if words[:1] == ["small"] for cell in words[1:]]
        for _, p50 in times[:count]:
            assert str(p50) in named
        for figure in ("300.0", "KiB", "38.6", "M", "1.00", "1.20", "4.00x"):
            assert figure in named


def test_equal_models_are_no_points_apart_without_a_minus() -> None:
    int8 = row(precision="int8", fp32_difference=drop(0.0, to="small fp32", width=0.0))
    shown = render(record(row(), int8), 120)
    assert "small int8 is +0.00 points from small fp32 (+0.00 to +0.00;" in shown


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.1726, "0.173"), (1.698, "1.70"), (35.24, "35.2"), (120.4, "120")],
)
def test_times_keep_three_digits(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (4.623, "4.62x"), (12.34, "12.3x"), (0.5, "0.50x")]
)
def test_ratios_are_factors(value: float | None, text: str) -> None:
    assert factor(value) == text


def test_names_from_outside_are_no_markup() -> None:
    assert "[bold]x[/bold]" in render(record(row("[bold]x[/bold]")), 200)
