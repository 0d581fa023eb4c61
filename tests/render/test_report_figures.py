"""Which figures a report has."""

import pytest
from matplotlib.axes import Axes

from compress.records.distill import DistillRecord
from compress.records.report import ReportRecord
from compress.render.canvas import INK, PALETTE
from compress.render.plots import LEAST_IMAGES
from compress.render.report_figures import confusion_figure, overview_figures, run_figures


def test_a_run_has_curves_cost_and_reliability(digits_report: ReportRecord) -> None:
    figures = run_figures(digits_report.runs[0], "svg")
    assert [figure.name for figure in figures] == [
        *("accuracy", "validation-loss", "training-loss", "accuracy-macs", "reliability")
    ]
    assert all(figure.content.startswith(b"<?xml") and figure.caption for figure in figures)


def test_reliability_is_that_of_everybody(digits_report: ReportRecord) -> None:
    text = run_figures(digits_report.runs[0], "svg")[-1].content.decode()
    for name in ("resnet56 (teacher)", "small_cnn", "mobilenet_v2-control"):
        assert f">{name}: ECE" in text


def test_a_run_without_epochs_and_predictions_still_has_its_cost(
    digits_report: ReportRecord,
) -> None:
    bare = digits_report.runs[0].model_copy(update={"epochs": (), "answers": ()})
    assert [figure.name for figure in run_figures(bare, "png")] == ["accuracy-macs"]


def test_confusion_is_named_after_its_model(digits_report: ReportRecord) -> None:
    run = digits_report.runs[0]
    teacher, student = run.answers[0], run.answers[1]
    assert confusion_figure(teacher, run, "png").title == "Confusion of resnet56 (teacher)"
    assert confusion_figure(student, run, "png").name == "confusion-small_cnn"


def test_several_runs_share_one_plane_per_data_set(
    digits_report: ReportRecord, two_runs_report: ReportRecord
) -> None:
    figures = overview_figures([*digits_report.runs, *two_runs_report.runs], "svg")
    assert [figure.title.partition(":")[0] for figure in figures] == ["digits", "cifar10"]
    assert len({figure.name for figure in figures}) == 2
    text = figures[1].content.decode()
    assert ">2: small_cnn</text>" in text
    assert ">3: small_cnn</text>" in text
    assert ">1: small_cnn</text>" not in text


def test_a_teacher_of_several_runs_is_drawn_once(two_runs_report: ReportRecord) -> None:
    run = two_runs_report.runs[0]
    text = overview_figures([run, run], "svg")[0].content.decode()
    assert text.count(">resnet56 (teacher)</text>") == 1


def test_teachers_of_one_name_are_told_apart(two_runs_report: ReportRecord) -> None:
    one = two_runs_report.runs[0]
    assert isinstance(one.result, DistillRecord)
    worse = one.result.teacher.model_copy(update={"top1": one.result.teacher.top1 - 0.02})
    result = one.result.model_copy(update={"teacher": worse})
    text = overview_figures([one, one.model_copy(update={"result": result})], "svg")[0].content
    assert b">1: resnet56 (teacher)</text>" in text
    assert b">2: resnet56 (teacher)</text>" in text


@pytest.mark.parametrize("left", ["mobilenet_v2", "mobilenet_v2-control"])
def test_a_model_has_one_colour_on_a_page_whoever_else_is_drawn(
    left: str, digits_report: ReportRecord, panels: list[Axes]
) -> None:
    """Reliability shows a part of the students, curves and cost all."""
    run = digits_report.runs[0]
    answers = tuple(one for one in run.answers if one.label in ("teacher", left))
    run_figures(run.model_copy(update={"answers": answers}), "svg")
    accuracy, _, _, cost, reliability = panels
    curve = next(line for line in accuracy.lines if line.get_label() == left)
    point = next(bars[0] for bars in cost.containers if bars.get_label() == left)
    _, teacher, line = reliability.lines
    assert curve.get_color() == point.get_color() == line.get_color() == PALETTE[1]
    assert teacher.get_color() == INK


def test_the_first_seed_has_the_colour_of_its_kind(
    two_runs_report: ReportRecord, panels: list[Axes]
) -> None:
    run_figures(two_runs_report.runs[0], "svg")
    assert [line.get_color() for line in panels[-1].lines[1:]] == [INK, PALETTE[0], PALETTE[0]]


def test_captions_say_what_a_reader_would_take_wrongly(
    two_runs_report: ReportRecord,
) -> None:
    (overview,) = overview_figures(two_runs_report.runs, "svg")
    assert "colours and marks are its own" in overview.caption
    reliability = run_figures(two_runs_report.runs[0], "svg")[-1]
    assert f"fewer than {LEAST_IMAGES}" in reliability.caption
