"""The sentences of a report."""

import pytest

from compress.records.report import ReportRecord
from compress.render.report_words import agreement_words, headlines, part_of, subtitle


@pytest.mark.parametrize(
    ("whole", "part", "words"),
    [
        (100, 3, "1/33 of its"),
        (100, 44, "1/2 of its"),
        (100, 70, "0.7 of its"),
        (100, 99, "0.99 of its"),
        (100, 100, "as many"),
        (1000, 999, "about as many"),
        (1000, 1040, "about as many"),
        (100, 110, "1.1 times its"),
        (100, 260, "2.6 times its"),
    ],
)
def test_shares_are_said_as_people_say_them(whole: int, part: int, words: str) -> None:
    assert part_of(whole, part) == words


def test_a_student_is_compared_with_teacher_and_control(digits_report: ReportRecord) -> None:
    run = digits_report.runs[0]
    row = run.rows[0]
    teacher = run.result.teacher.top1  # type: ignore[union-attr]
    assert headlines(run)[0] == (
        f"small_cnn: {100 * row.top1:.2f}% top-1 ({100 * row.top1_low:.2f}-"
        f"{100 * row.top1_high:.2f}), {100 * (row.top1 - teacher):+.2f} points from its teacher, "
        "with 1/3 of its multiply-accumulates and 1/3 of its parameters; "
        "+1.20 points over its control: within noise."
    )


def test_the_subtitle_says_what_the_students_learned_from(digits_report: ReportRecord) -> None:
    run = digits_report.runs[0]
    both = run.result.model_copy(update={"soft_labels": "both"})
    mixed = run.model_copy(update={"result": both})
    assert ", stored soft labels, " in subtitle(run)
    assert ", stored soft labels and live teacher, " in subtitle(mixed)


def test_several_seeds_are_one_sentence(two_runs_report: ReportRecord) -> None:
    distilled, trained = two_runs_report.runs
    assert headlines(distilled) == [
        "small_cnn: 90.00 ± 0.30% top-1 over 3 seeds; +1.20 points over its control: KD helps."
    ]
    assert len(headlines(trained)) == 1
    assert "teacher" not in headlines(trained)[0]


def test_who_is_right_adds_up(digits_report: ReportRecord) -> None:
    told = next(one for one in digits_report.runs[0].answers if one.label == "small_cnn")
    assert told.agreement is not None
    words = agreement_words(told)
    assert words.startswith("Of 360 test images both get ")
    assert f"only the student {told.agreement.student_only} (" in words
    assert agreement_words(digits_report.runs[0].answers[0]) == ""
