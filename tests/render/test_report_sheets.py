"""The tables of a report."""

from collections.abc import Sequence

from compress.records.report import Answers, ClassRow, ReportRecord
from compress.render import report_sheets
from tests.fake_run import summary_row


def test_every_table_has_a_cell_per_head(
    digits_report: ReportRecord, two_runs_report: ReportRecord
) -> None:
    for run in (*digits_report.runs, *two_runs_report.runs):
        sheets = [
            report_sheets.accuracy(run),
            report_sheets.cost(run),
            report_sheets.over_seeds(run),
            report_sheets.ensembles(run),
            *report_sheets.provenance(run),
            *(report_sheets.class_changes(answers)[0] for answers in run.answers),
        ]
        for sheet in filter(None, sheets):
            assert {len(row) for row in sheet.rows} == {len(sheet.heads)}, sheet.title
    comparison = report_sheets.comparison(two_runs_report.runs)
    assert {len(row) for row in comparison.rows} == {len(comparison.heads)}


def test_controls_are_marked_and_the_teacher_leads(digits_report: ReportRecord) -> None:
    names = [row[0] for row in report_sheets.accuracy(digits_report.runs[0]).rows]
    assert names == [
        "resnet56 (teacher)",
        "small_cnn",
        "small_cnn-control (no KD)",
        "mobilenet_v2",
        "mobilenet_v2-control (no KD)",
    ]


def test_a_training_has_no_teacher_and_no_gain(two_runs_report: ReportRecord) -> None:
    sheet = report_sheets.accuracy(two_runs_report.runs[1])
    assert [row[0] for row in sheet.rows] == ["small_cnn"]
    assert not any("KD" in head for head in sheet.heads)


def test_seeds_and_ensembles_have_tables_where_there_are_any(
    digits_report: ReportRecord, two_runs_report: ReportRecord
) -> None:
    assert report_sheets.over_seeds(digits_report.runs[0]) is None
    assert report_sheets.ensembles(digits_report.runs[0]) is None
    seeds = report_sheets.over_seeds(two_runs_report.runs[0])
    ensembles = report_sheets.ensembles(two_runs_report.runs[0])
    assert seeds is not None
    assert ensembles is not None
    assert seeds.rows[0][:3] == ("small_cnn", "3", "90.00 ± 0.30")
    gain = "+2.50 (+2.00 to +3.00) averaging helps"
    assert ensembles.rows[0] == ("small_cnn", "3", "92.50 (92.00-93.00)", "90.00", gain)


def test_of_several_seeds_only_their_mean_is_judged(two_runs_report: ReportRecord) -> None:
    run = two_runs_report.runs[0]
    mean = report_sheets.over_seeds(run)
    assert mean is not None
    assert mean.rows[0][-1] == "+1.20 (+0.20 to +2.20) KD helps"
    single = [
        row[5] for row in report_sheets.accuracy(run).rows if row[0].startswith("small_cnn-s")
    ]
    assert single == ["+1.20 (-0.40 to +2.80)"] * 3


def test_without_any_gain_there_is_no_column_of_gains(two_runs_report: ReportRecord) -> None:
    taught, alone = two_runs_report.runs
    row = summary_row("small_cnn", role="control")
    seeds = alone.model_copy(update={"result": alone.result.model_copy(update={"summary": (row,)})})
    for with_gain, without in (
        (report_sheets.over_seeds(taught), report_sheets.over_seeds(seeds)),
        (report_sheets.comparison([taught, alone]), report_sheets.comparison([alone, seeds])),
    ):
        assert any("KD gain" in head for head in with_gain.heads)
        assert not any("KD gain" in head for head in without.heads)
        assert {len(row) for row in without.rows} == {len(without.heads)}
    assert report_sheets.comparison([alone]).rows[0][-2:] == ("288 k", "38.6 M")


def test_students_without_controls_have_no_column_of_gains(digits_report: ReportRecord) -> None:
    run = digits_report.runs[0]
    none = {"kd_gain": None, "kd_gain_low": None, "kd_gain_high": None}
    rows = tuple(row.model_copy(update=none) for row in run.rows)
    result = run.result.model_copy(update={"students": rows})
    heads = report_sheets.accuracy(run.model_copy(update={"result": result})).heads
    assert heads == (*report_sheets.accuracy(run).heads[:5], "agreement, %")


def test_columns_of_words_are_known(
    digits_report: ReportRecord, two_runs_report: ReportRecord
) -> None:
    run = digits_report.runs[0]
    words = {sheet.title: sheet.words for sheet in report_sheets.provenance(run)}
    assert words == {"Inputs": 3, "Machine": 2}
    assert report_sheets.comparison(two_runs_report.runs).words == 2
    assert report_sheets.accuracy(run).words == 1


def answers(classes: list[ClassRow], confusion: Sequence[tuple[int, ...]] = ()) -> Answers:
    right = [tuple(int(n == k) for k in range(len(classes))) for n in range(len(classes))]
    return Answers(
        label="small_cnn",
        role="student",
        ece=0.0,
        reliability=(),
        confusion=tuple(confusion or right),
        classes=tuple(classes),
    )


def test_the_class_that_lost_most_comes_first() -> None:
    rows = [
        ClassRow(name="cat", images=100, top1=0.9, teacher_top1=0.88, lost=3, won=5),
        ClassRow(name="dog", images=100, top1=0.8, teacher_top1=0.9, lost=12, won=2),
    ]
    sheet, long = report_sheets.class_changes(answers(rows))
    assert sheet.rows == (
        ("dog", "-", "1", "100", "90.0", "80.0", "-10.0", "12", "2"),
        ("cat", "-", "0", "100", "88.0", "90.0", "+2.0", "3", "5"),
    )
    assert not long


def test_a_class_says_its_number_and_what_it_is_most_often_taken_for() -> None:
    names = ("cat", "dog", "cow")
    rows = [ClassRow(name=name, images=20, top1=0.5 + n / 10) for n, name in enumerate(names)]
    sheet, _ = report_sheets.class_changes(
        answers(rows, [(10, 3, 7), (8, 12, 0), (0, 0, 0)]),
    )
    assert sheet.heads == ("class", "most often taken for", "no.", "images", "top-1, %")
    assert [row[:3] for row in sheet.rows] == [
        ("cat", "cow, 35.0%", "0"),
        ("dog", "cat, 40.0%", "1"),
        ("cow", "-", "2"),
    ]
    assert sheet.words == 2
    assert "no.:" in sheet.note


def test_classes_that_are_called_by_their_numbers_have_no_second_one() -> None:
    rows = [ClassRow(name=str(number), images=1, top1=0.5) for number in range(2)]
    sheet, _ = report_sheets.class_changes(answers(rows, [(1, 3), (0, 4)]))
    assert sheet.heads == ("class", "most often taken for", "images", "top-1, %")
    assert sheet.rows[0] == ("0", "1, 75.0%", "1", "50.0")
    assert "no.:" not in sheet.note


def test_a_hundred_classes_make_a_long_table() -> None:
    rows = [ClassRow(name=str(number), images=1, top1=0.5) for number in range(100)]
    sheet, long = report_sheets.class_changes(answers(rows))
    assert long
    assert len(sheet.rows) == 100


def test_runs_are_compared_by_number(two_runs_report: ReportRecord) -> None:
    rows = report_sheets.comparison(two_runs_report.runs).rows
    assert [row[0] for row in rows] == ["1: small_cnn", "1: small_cnn-control", "2: small_cnn"]
    assert rows[0][2] == "90.00 ± 0.30 (3 seeds)"


def test_runs_of_one_seed_are_said_to_be_so_where_they_are_judged(
    digits_report: ReportRecord, two_runs_report: ReportRecord
) -> None:
    words = "One seed: how much other seeds would differ is in no range"
    of_several, trained = two_runs_report.runs
    (of_one,) = digits_report.runs
    assert words in report_sheets.comparison([of_several, of_one]).note
    assert words not in report_sheets.comparison([of_several, trained]).note


def test_a_comparison_says_who_kept_the_last_epoch(two_runs_report: ReportRecord) -> None:
    first, second = two_runs_report.runs
    last = [row.model_copy(update={"select": "last"}) for row in first.rows]
    for rows, of in ((last, ""), ([*last[:1], *first.rows[1:]], " of some models")):
        result = first.result.model_copy(update={"students": tuple(rows)})
        note = report_sheets.comparison([second, first.model_copy(update={"result": result})]).note
        assert f"Run 2 kept the last epoch{of}, whatever its validation top-1." in note
        assert "Run 1 kept" not in note


def test_a_comparison_says_who_began_with_other_weights(two_runs_report: ReportRecord) -> None:
    first, second = two_runs_report.runs
    result = first.result.model_copy(update={"initial_weights": "runs/first"})
    note = report_sheets.comparison([second, first.model_copy(update={"result": result})]).note
    assert "Run 2 began with the weights of runs/first." in note
    assert "Run 1 began" not in note


def test_the_inputs_are_named_by_content(digits_report: ReportRecord) -> None:
    sheets = {sheet.title: sheet for sheet in report_sheets.provenance(digits_report.runs[0])}
    assert sheets["Inputs"].rows == (("data", "digits", "d" * 64),)
    assert ("processor", "Example CPU") in sheets["Machine"].rows
    assert "Chosen automatically" not in sheets
