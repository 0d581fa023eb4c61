"""A report as Markdown."""

import base64
import io
import re
from itertools import pairwise

import numpy as np
from PIL import Image

from compress.records.report import ClassRow, ReportRecord
from compress.render.report_markdown import document


def test_every_picture_named_is_there_and_the_other_way_round(
    digits_report: ReportRecord, two_runs_report: ReportRecord
) -> None:
    for record in (digits_report, two_runs_report):
        text, pictures = document(record)
        named = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
        assert set(named) == set(pictures)
        assert all(content.startswith(b"\x89PNG") for content in pictures.values())


def test_tables_have_one_number_of_columns(two_runs_report: ReportRecord) -> None:
    text, _ = document(two_runs_report)
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) <= 1, block


def test_headings_skip_no_level(digits_report: ReportRecord, two_runs_report: ReportRecord) -> None:
    for record in (digits_report, two_runs_report):
        levels = [len(marks) for marks in re.findall("(?m)^(#+) ", document(record)[0])]
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))


def test_words_stand_left_and_numbers_right(two_runs_report: ReportRecord) -> None:
    lines = document(two_runs_report)[0].splitlines()
    after = {line: lines[place + 1] for place, line in enumerate(lines[:-1])}
    assert after["| input | source | sha256 |"] == "| --- | --- | --- |"
    assert after["| what | value |"] == "| --- | --- |"
    (comparison,) = [line for line in after if line.startswith("| run: model | data |")]
    assert after[comparison] == "| --- | --- | ---: | ---: | ---: | ---: |"
    (cost,) = {line for line in after if line.startswith("| model | parameters |")}
    assert after[cost] == "| --- |" + " ---: |" * 6


def test_the_figures_are_those_of_the_record(digits_report: ReportRecord) -> None:
    text, _ = document(digits_report)
    row = digits_report.runs[0].rows[0]
    assert f"| small\\_cnn | {100 * row.top1:.2f} (" in text
    assert "# Report of digits-run" in text
    assert "## 1:" not in text


def test_samples_on_which_teacher_and_student_differ_are_shown(
    digits_report: ReportRecord, two_runs_report: ReportRecord
) -> None:
    text, pictures = document(digits_report)
    (answers,) = [one for one in digits_report.runs[0].answers if one.label == "small_cnn"]
    assert len(answers.disagreements) == 12
    for one in answers.disagreements:
        path = f"plots/test-{one.index}.png"
        teacher = f"{one.teacher} {100 * one.teacher_probability:.0f}%"
        assert f"| ![test image {one.index}: {one.truth}]({path}) | {one.truth} " in text
        assert teacher in text.replace("**", "")
        small = np.asarray(Image.open(io.BytesIO(base64.b64decode(one.png))))
        large = np.asarray(Image.open(io.BytesIO(pictures[path])))
        assert large.shape == (96, 96, 3)
        factor = 96 // len(small)
        assert (large == small.repeat(factor, axis=0).repeat(factor, axis=1)).all()
    assert "differ" not in document(two_runs_report)[0].split("Where it comes from")[0]


def test_a_right_answer_among_the_samples_is_bold(digits_report: ReportRecord) -> None:
    text, _ = document(digits_report)
    (answers,) = [one for one in digits_report.runs[0].answers if one.label == "small_cnn"]
    right = next(one for one in answers.disagreements if one.teacher == one.truth)
    row = next(line for line in text.splitlines() if f"(plots/test-{right.index}.png)" in line)
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[3].startswith(f"**{right.truth}** ")
    assert "**" not in cells[4]


def test_a_long_table_of_classes_is_folded_away_whole(digits_report: ReportRecord) -> None:
    run = digits_report.runs[0]
    (taught, *_) = [one for one in run.answers if one.role == "student"]
    classes = tuple(
        ClassRow(name=f"class {n:02}", images=10, top1=n / 20, teacher_top1=0.5, lost=1, won=2)
        for n in range(13)
    )
    told = {"classes": classes, "confusion": np.eye(13, dtype=int).tolist()}
    changed = run.model_copy(update={"answers": (taught.model_copy(update=told),)})
    text, _ = document(digits_report.model_copy(update={"runs": (changed,)}))
    shown, _, rest = text.partition("<details><summary>all 13</summary>\n\n| class |")
    folded, _, _ = rest.partition("\n\n</details>")
    names = [f"class {n:02}" for n in range(13)]
    assert [name for name in names if f"| {name} |" in shown] == [*names[:6], *names[-6:]]
    assert [name for name in names if f"| {name} |" in folded] == names
    assert "<details>" not in document(digits_report)[0]


def test_several_runs_are_numbered(two_runs_report: ReportRecord) -> None:
    text, pictures = document(two_runs_report)
    assert "# Report of 2 runs" in text
    assert "## 1: seeds" in text
    assert "## 2: alone" in text
    assert "plots/1-accuracy.png" in pictures
    assert "plots/2-accuracy.png" in pictures
