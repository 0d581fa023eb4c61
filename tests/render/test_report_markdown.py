"""A report as Markdown."""

import re

import pytest

from compress.records.report import ReportRecord
from compress.render.report_markdown import document, plain


def test_every_picture_named_is_there_and_the_other_way_round(
    digits_report: ReportRecord, two_runs_report: ReportRecord
) -> None:
    for record in (digits_report, two_runs_report):
        text, pictures = document(record)
        named = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
        assert sorted(named) == sorted(pictures)
        assert all(content.startswith(b"\x89PNG") for content in pictures.values())


def test_tables_have_one_number_of_columns(two_runs_report: ReportRecord) -> None:
    text, _ = document(two_runs_report)
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) <= 1, block


def test_the_figures_are_those_of_the_record(digits_report: ReportRecord) -> None:
    text, _ = document(digits_report)
    row = digits_report.runs[0].rows[0]
    assert f"| small\\_cnn | {100 * row.top1:.2f} (" in text
    assert "# Report of digits-run" in text
    assert "## 1:" not in text


def test_several_runs_are_numbered(two_runs_report: ReportRecord) -> None:
    text, pictures = document(two_runs_report)
    assert "# Report of 2 runs" in text
    assert "## 1: seeds" in text
    assert "## 2: alone" in text
    assert "plots/1-accuracy.png" in pictures
    assert "plots/2-accuracy.png" in pictures


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("small_cnn", "small\\_cnn"),
        ("a|b", "a\\|b"),
        ("<b>x</b>", "\\<b\\>x\\</b\\>"),
        ("two\nlines", "two lines"),
        ("[x](y)", "\\[x\\](y)"),
    ],
)
def test_text_from_outside_is_no_markdown(text: str, escaped: str) -> None:
    assert plain(text) == escaped
