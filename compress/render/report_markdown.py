"""A report as Markdown with pictures beside it, for a repository or an issue."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace

from PIL import Image

from compress.records.report import Answers, Disagreement, ReportRecord, RunReport
from compress.render import report_sheets, report_words
from compress.render.markdown import plain
from compress.render.numbers import percent
from compress.render.report_figures import (
    Figure,
    confusion_figure,
    overview_figures,
    run_figures,
)
from compress.render.report_sheets import MOST_CHANGED, SAMPLES_NOTE, SAMPLES_TITLE, Sheet

SAMPLE_SIDE = 96
"""Pixels: smaller samples are enlarged by whole factors, as Markdown cannot do it."""


def document(record: ReportRecord) -> tuple[str, dict[str, bytes]]:
    """The text, and the pictures it shows.

    Args:
        record: What `compress report` found.

    Returns:
        GitHub-flavoured Markdown, and PNGs by their path beside it.
    """
    pictures: dict[str, bytes] = {}
    runs = record.runs
    title = runs[0].result.run if len(runs) == 1 else f"{len(runs)} runs"
    lines = [f"# Report of {plain(title)}", ""]
    if len(runs) > 1:
        lines += _sheet(report_sheets.comparison(runs))
        lines += _pictures(overview_figures(runs, "png"), "", pictures)
    for number, run in enumerate(runs, start=1):
        lines += _run(run, number, len(runs) == 1, pictures)
    lines += [f"Made by compress {plain(record.version)}.", ""]
    return "\n".join(lines), pictures


def _run(run: RunReport, number: int, alone: bool, pictures: dict[str, bytes]) -> Iterator[str]:
    if not alone:
        yield from (f"## {number}: {plain(run.result.run)}", "")
    yield from (plain(report_words.subtitle(run)), "")
    for line in (*report_words.headlines(run), *run.notes):
        yield f"- {plain(line)}"
    yield ""
    for sheet in (
        report_sheets.over_seeds(run),
        report_sheets.accuracy(run),
        report_sheets.cost(run),
        report_sheets.ensembles(run),
    ):
        yield from _sheet(sheet)
    prefix, level = ("", "##") if alone else (f"{number}-", "###")
    yield from _pictures(run_figures(run, "png"), prefix, pictures)
    for answers in run.answers:
        yield from _answers(answers, run, level, prefix, pictures)
    yield from (f"{level} Where it comes from", "")
    for sheet in report_sheets.provenance(run):
        yield from _sheet(sheet)


def _answers(
    answers: Answers, run: RunReport, level: str, prefix: str, pictures: dict[str, bytes]
) -> Iterator[str]:
    if answers.role == "control":
        return
    figure = confusion_figure(answers, run, "png")
    yield from (f"{level} {plain(figure.title.removeprefix('Confusion of '))}", "")
    words = report_words.agreement_words(answers)
    if words:
        yield from (plain(words), "")
    yield from _pictures([figure], prefix, pictures)
    if answers.classes:
        yield from _classes(answers)
    yield from _samples(answers.disagreements, prefix, pictures)


def _classes(answers: Answers) -> Iterator[str]:
    """The table of classes; where it is long its ends, and all of it folded away."""
    sheet, long = report_sheets.class_changes(answers)
    if not long:
        yield from _sheet(sheet)
        return
    half, count = MOST_CHANGED // 2, len(sheet.rows)
    yield from (f"The {half} lowest and the {half} highest of {count}:", "")
    ends = sheet.rows[:half] + sheet.rows[-half:]
    yield from _sheet(replace(sheet, rows=ends))
    yield from (f"<details><summary>all {count}</summary>", "")
    yield from (*_table(sheet), "", "</details>", "")


def _samples(
    samples: Sequence[Disagreement], prefix: str, pictures: dict[str, bytes]
) -> Iterator[str]:
    """Images on which teacher and student differ, the right answers in bold."""
    if not samples:
        return

    def said(answer: str, probability: float, truth: str) -> str:
        mark = "**" if answer == truth else ""
        return f"{mark}{plain(answer)}{mark} {percent(probability, 0)}%"

    yield from (f"**{SAMPLES_TITLE}**", "", SAMPLES_NOTE, "")
    yield from ("| image | class | teacher | student |", "| --- | --- | --- | --- |")
    for one in samples:
        path = f"plots/{prefix}test-{one.index}.png"
        pictures[path] = _enlarged(base64.b64decode(one.png))
        cells = (
            f"![test image {one.index}: {plain(one.truth)}]({path})",
            f"{plain(one.truth)} (image {one.index})",
            said(one.teacher, one.teacher_probability, one.truth),
            said(one.student, one.student_probability, one.truth),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _enlarged(png: bytes) -> bytes:
    """A picture whose pixels are squares that people can see."""
    picture = Image.open(io.BytesIO(png))
    factor = max(1, SAMPLE_SIDE // max(picture.size))
    if factor == 1:
        return png
    stream = io.BytesIO()
    larger = picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )
    larger.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _sheet(sheet: Sheet | None) -> Iterator[str]:
    if sheet is None:
        return
    yield from (f"**{plain(sheet.title)}**", "", *_table(sheet), "")
    for line in sheet.note.splitlines():
        yield from (plain(line), "")


def _table(sheet: Sheet) -> Iterator[str]:
    yield f"| {' | '.join(plain(head) for head in sheet.heads)} |"
    numbers = len(sheet.heads) - sheet.words
    yield f"|{'|'.join([' --- '] * sheet.words + [' ---: '] * numbers)}|"
    for row in sheet.rows:
        yield f"| {' | '.join(plain(cell) for cell in row)} |"


def _pictures(figures: Sequence[Figure], prefix: str, pictures: dict[str, bytes]) -> Iterator[str]:
    for figure in figures:
        path = f"plots/{prefix}{figure.name}.png"
        pictures[path] = figure.content
        yield from (f"![{plain(figure.title)}]({path})", "", plain(figure.caption), "")
