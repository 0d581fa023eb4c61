"""The table of a distillation run."""

import io
import re
from statistics import NormalDist

import pytest
from rich.console import Console

from compress.records.distill import EnsembleRow
from compress.records.training import DivergedRow
from compress.render.tables.distill import (
    heading,
    in_order,
    kept_epoch,
    notes,
    table,
    teacher_range,
)
from tests.fake_run import TEACHER, record, student, summary_row

ROWS = (
    student("small_cnn", top1=0.9186, kd_gain=0.0032, kd_gain_low=-0.0011, kd_gain_high=0.0075),
    student("mobilenet_v2", top1=0.9386, kd_gain=0.0132, kd_gain_low=0.0011, kd_gain_high=0.0235),
    student(
        "mobilenet_v2-attention-s1",
        top1=0.9086,
        kd_gain=-0.0232,
        kd_gain_low=-0.0311,
        kd_gain_high=-0.0135,
    ),
    student("small_cnn-control", top1=0.9154),
    student("mobilenet_v2-control", top1=0.9318),
)


def render(renderable: object, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row_of(text: str, label: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(label))


def test_every_figure_of_a_student_is_in_its_row() -> None:
    shown = render(table(record(ROWS)), 240)
    cells = re.split(r"\s{2,}", row_of(shown, "small_cnn ").strip())
    assert cells == [
        *("small_cnn", "91.86", "90.86-92.86", "91.76", "92.06", "96.86"),
        *("+0.32 within noise", "-0.11 to +0.75", "18", "93.00", "2.10"),
        *("288 k", "38.6 M", "20.6 min"),
    ]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("stored", "; stored soft labels; "),
        ("live", "; live teacher; "),
        ("both", "; stored soft labels and live teacher; "),
    ],
)
def test_the_heading_says_what_the_students_learned_from(kind: str, words: str) -> None:
    assert words in heading(record(ROWS, soft_labels=kind)).plain


def test_the_heading_counts_unlabelled_images_where_there_are_some() -> None:
    plain = heading(record(ROWS)).plain
    assert "unlabelled" not in plain
    more = heading(record(ROWS, unlabelled_images=12345)).plain
    assert more == plain.replace(" training, ", " training and 12,345 unlabelled, ")


def test_the_heading_and_the_notes_say_what_the_students_began_with() -> None:
    plain = record(ROWS)
    more = heading(record(ROWS, initial_weights="runs/first")).plain
    assert more == heading(plain).plain.replace(
        " epochs;", " epochs from the weights of runs/first;"
    )
    assert "began with" not in notes(plain)
    assert "began with come from outside" in notes(record(ROWS, initial_foreign=True))
    assert "Student and control began with the same" in notes(record(ROWS, initial_shared=True))


def test_the_teacher_comes_first_with_the_wilson_interval_of_its_accuracy() -> None:
    z = NormalDist().inv_cdf(0.975)
    p, n = 0.9339, 10_000
    centre, spread = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    low, high = teacher_range(record(ROWS))
    assert (low, high) == pytest.approx(
        ((centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n))
    )
    shown = render(table(record(ROWS)), 240)
    assert shown.index("resnet56  teacher") < shown.index("small_cnn")
    assert f"93.39  {100 * low:.2f}-{100 * high:.2f}" in row_of(shown, "resnet56")


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("small_cnn ", "within noise"),
        ("mobilenet_v2 ", "KD helps (1 seed)"),
        ("mobilenet_v2-attention-s1", "KD hurts (1 seed)"),
    ],
)
def test_the_verdict_stands_beside_the_gain(label: str, words: str) -> None:
    assert words in row_of(render(table(record(ROWS)), 240), label)


def test_harm_is_said_again_below() -> None:
    assert "KD hurts where the whole range lies below 0" in render(table(record(ROWS)), 240)
    assert "KD hurts" not in render(table(record(ROWS[:2])), 240)


def test_harm_over_seeds_is_said_below_too() -> None:
    summary = summary_row(kd_gain_mean=-0.01, kd_gain_low=-0.02, kd_gain_high=-0.001)
    assert "train on the labels alone" in render(table(record(ROWS[:2], summary=(summary,))), 240)


def test_controls_are_named_and_follow_the_students_of_their_model() -> None:
    assert [row.label for row in in_order(ROWS)] == [
        *("small_cnn", "small_cnn-control"),
        *("mobilenet_v2", "mobilenet_v2-attention-s1", "mobilenet_v2-control"),
    ]
    assert "no KD (control)" in row_of(render(table(record(ROWS)), 240), "small_cnn-control")


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_no_figure_is_lost_at_any_width(width: int) -> None:
    shown = render(table(record(ROWS)), width)
    assert max(len(line) for line in shown.splitlines()) <= width
    assert "…" not in shown
    for figure in ("91.86", "90.86-92.86", "-0.11 to +0.75", "92.06", "96.86", "93.00", "38.6 M"):
        assert figure in shown


def test_one_table_holds_everything_at_120_columns() -> None:
    shown = render(table(record(ROWS)), 120)
    heads = [line for line in shown.splitlines() if "KD gain" in line]
    assert len([line for line in shown.splitlines() if "MACs" in line]) == 1
    assert heads


def test_without_controls_nothing_is_said_of_gains() -> None:
    shown = render(table(record([student("small_cnn")])), 240)
    assert "paired by image" not in shown
    assert "within noise" not in shown


def test_a_teacher_from_outside_is_said_to_be_one() -> None:
    text = "may know the validation images"
    assert text in render(table(record(ROWS)), 240)
    own = TEACHER.model_copy(update={"foreign": False})
    assert text not in render(table(record(ROWS, teacher=own)), 240)


def test_who_kept_another_epoch_than_the_others_is_named() -> None:
    best, last = student("small_cnn"), student("mobilenet_v2", select="last")
    assert kept_epoch([best, last]) == (
        "at the epoch with the best validation top-1 (of mobilenet_v2: the last); "
        "last: at the last epoch."
    )
    seeds = [
        student(f"{label}-s{seed}", seed=seed, select=select)
        for label, select in (("a", "last"), ("a-control", "last"), ("b", "best"))
        for seed in (0, 1)
    ]
    assert "(of a: the last)" in kept_epoch(seeds)
    assert kept_epoch([last]) in " ".join(render(table(record([last])), 200).split())


def test_several_seeds_are_summed_up_as_mean_and_spread() -> None:
    summary = summary_row(
        top1_mean=0.9186,
        top1_sd=0.0021,
        last_top1_mean=0.9177,
        last_top1_sd=0.0033,
        kd_gain_mean=0.004,
        kd_gain_low=-0.002,
        kd_gain_high=0.01,
    )
    shown = render(table(record(ROWS, summary=(summary,))), 240)
    line = re.split(r"\s{2,}", row_of(shown, "small_cnn ").strip())
    assert line == [
        *("small_cnn", "3", "91.86 ± 0.21", "91.77 ± 0.33"),
        *("+0.40 within noise", "-0.20 to +1.00"),
    ]


def test_what_the_range_over_seeds_covers_is_said_where_it_covers_more() -> None:
    summary = summary_row(kd_gain_mean=0.01, kd_gain_low=-0.001, kd_gain_high=0.02)
    text = "over seeds (Student's t) and over test images"
    assert text not in render(table(record(ROWS, summary=(summary,))), 240)
    both = summary.model_copy(update={"kd_gain_images_low": -0.001, "kd_gain_images_high": 0.02})
    assert text in render(table(record(ROWS, summary=(both,))), 240)


@pytest.mark.parametrize("width", [80, 160])
def test_two_seeds_that_cannot_tell_are_said_to_be_too_few(width: int) -> None:
    summary = summary_row(seeds=2, kd_gain_mean=-0.0194, kd_gain_low=-1.0, kd_gain_high=0.9804)
    shown = render(table(record(ROWS, summary=(summary,))), width)
    assert "two seeds cannot tell" in row_of(shown, "small_cnn ")
    assert "-100.00 to +98.04" in shown
    assert "--seeds 0,1,2 shows more" in shown
    assert "within noise" not in shown


ENSEMBLE = EnsembleRow(
    label="average of 10 students",
    members=10,
    top1=0.598,
    top1_low=0.588,
    top1_high=0.608,
    mean_member_top1=0.49,
    gain=0.108,
    gain_low=0.1002,
    gain_high=0.1158,
)


def test_an_ensemble_is_compared_with_its_members() -> None:
    shown = render(table(record(ROWS, ensembles=(ENSEMBLE,))), 240)
    line = re.split(r"\s{2,}", row_of(shown, "average of").strip())
    figures = ["average of 10 students", "10", "59.80", "58.80-60.80", "49.00"]
    assert line == [*figures, "+10.80 averaging helps", "+10.02 to +11.58"]
    assert "its range is over test images" in shown
    assert "ensemble's gain" not in render(table(record(ROWS)), 240)
    older = ENSEMBLE.model_copy(update={"gain": None, "gain_low": None, "gain_high": None})
    shown = render(table(record(ROWS, ensembles=(older,))), 240)
    assert re.split(r"\s{2,}", row_of(shown, "average of").strip()) == [*figures, "+10.80"]


def test_an_ensemble_fits_narrow_terminals() -> None:
    shown = render(table(record(ROWS, ensembles=(ENSEMBLE,))), 80)
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "+10.80 averaging helps" in shown
    assert "+10.02 to +11.58" in shown


def test_the_teachers_training_accuracy_is_shown_where_it_is_known() -> None:
    known = TEACHER.model_copy(update={"train_top1": 0.9876})
    assert "98.76" in row_of(render(table(record(ROWS, teacher=known)), 240), "resnet56")


def test_names_from_outside_are_no_markup() -> None:
    odd = student("small_cnn", model="[red]x").model_copy(update={"label": "[bold]tiny[/bold]"})
    assert "[bold]tiny[/bold]" in render(table(record([odd], data="[red]cats[/red]")), 240)
    assert "[red]cats[/red]" in render(table(record([odd], data="[red]cats[/red]")), 240)


def test_who_diverged_has_a_line_below_the_rows() -> None:
    gone = DivergedRow(
        label="wild", model="small_cnn", seed=0, role="student", epoch=3, reason="the loss is NaN"
    )
    shown = render(table(record(ROWS, diverged=(gone,))), 240)
    line = shown.index("wild diverged in epoch 3: the loss is NaN\n")
    assert max(shown.index(row.label) for row in ROWS) < line < shown.index("Top-1 in per cent")


def test_one_seed_is_judged_with_a_caveat_though_another_student_diverged() -> None:
    gone = DivergedRow(
        label="wild", model="small_cnn", seed=0, role="student", epoch=3, reason="the loss is NaN"
    )
    beside = render(table(record(ROWS, diverged=(gone,))), 240)
    assert "One seed: how much other seeds would differ is in no range.\n" in beside
    assert "within noise" in beside
    of_others = gone.model_copy(update={"seed": 1})
    left = render(table(record(ROWS, diverged=(of_others,))), 240)
    assert "One seed: how much other seeds would differ is in no range.\n" in left
    assert "within noise" not in left


def test_a_mean_gain_says_what_it_is_over() -> None:
    both = "The range of a mean KD gain holds two errors"
    fewer = "over the seeds whose student and control were both trained to the end"
    ends = {"kd_gain_images_low": -0.01, "kd_gain_images_high": 0.02}
    spread = {**ends, "kd_gain_seeds_low": -0.01, "kd_gain_seeds_high": 0.02}
    for changes, has_both, has_fewer in (
        ({**spread, "kd_gain_pairs": 3}, True, False),
        ({**spread, "kd_gain_pairs": 2}, True, True),
        ({**ends, "kd_gain_pairs": 1}, False, True),
    ):
        row = summary_row("small_cnn-kd", seeds=3, **changes)
        shown = render(table(record(ROWS, summary=(row,))), 240)
        assert (both in shown, fewer in shown) == (has_both, has_fewer)


def test_one_seed_that_is_left_is_a_mean_without_a_spread() -> None:
    left = summary_row("small_cnn-kd", seeds=1, top1_mean=0.9, top1_sd=None, last_top1_sd=None)
    shown = render(table(record(ROWS, summary=(left,))))
    cells = re.split(r"\s{2,}", row_of(shown, "small_cnn-kd").strip())
    assert cells[1:4] == ["1", "90.00", "90.00"]
