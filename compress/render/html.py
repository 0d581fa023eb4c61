"""A report as one HTML page that holds everything: no scripts, no requests."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape

from compress.records.report import Answers, Disagreement, ReportRecord, RunReport
from compress.render import report_sheets, report_words
from compress.render.gains import TONES
from compress.render.html_style import STYLE
from compress.render.numbers import percent
from compress.render.report_figures import (
    Figure,
    confusion_figure,
    overview_figures,
    run_figures,
)
from compress.render.report_sheets import MOST_CHANGED, SAMPLES_NOTE, SAMPLES_TITLE, Sheet

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(record: ReportRecord) -> str:
    """The whole page.

    Args:
        record: What `compress report` found.

    Returns:
        An HTML document, the same for the same record.
    """
    runs = record.runs
    title = "Report of " + (runs[0].result.run if len(runs) == 1 else f"{len(runs)} runs")
    parts = [f"<h1>{escape(title)}</h1>"]
    if len(runs) > 1:
        items = "".join(
            f'<li><a href="#run-{number}">{escape(run.result.run)}</a></li>'
            for number, run in enumerate(runs, start=1)
        )
        parts.append(f"<nav><ol>{items}</ol></nav>")
        parts.append(_sheet(report_sheets.comparison(runs), 2))
        parts.append(_figures(overview_figures(runs, "svg"), 3))
    for number, run in enumerate(runs, start=1):
        parts += _run(run, number, alone=len(runs) == 1)
    parts.append(f"<footer>Made by compress {escape(record.version)}.</footer>")
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _run(run: RunReport, number: int, *, alone: bool) -> Iterator[str]:
    """What is known of a run; its sections are one level below the heading it stands under."""
    level = 2 if alone else 3
    if not alone:
        yield f'<h2 id="run-{number}">{number}: {escape(run.result.run)}</h2>'
    yield f'<p class="soft">{escape(report_words.subtitle(run))}</p>'
    yield _list(report_words.headlines(run))
    yield _list(run.notes, kind="note")
    yield _heading("Results", level)
    for sheet in (
        report_sheets.over_seeds(run),
        report_sheets.accuracy(run),
        report_sheets.cost(run),
        report_sheets.ensembles(run),
    ):
        yield _sheet(sheet, level + 1)
    yield _heading("Curves", level)
    yield _figures(run_figures(run, "svg"), level + 1)
    for answers in run.answers:
        yield from _answers(answers, run, level)
    sheets = "".join(_sheet(sheet, level + 1) for sheet in report_sheets.provenance(run))
    yield _heading("Where it comes from", level)
    yield f"<details><summary>inputs and machine</summary>{sheets}</details>"


def _answers(answers: Answers, run: RunReport, level: int) -> Iterator[str]:
    """One model in detail; controls are in the tables and curves only."""
    if answers.role == "control":
        return
    figure = confusion_figure(answers, run, "svg")
    yield _heading(figure.title.removeprefix("Confusion of "), level)
    words = report_words.agreement_words(answers)
    if words:
        yield f"<p>{escape(words)}</p>"
    classes = ""
    if answers.classes:
        sheet, long = report_sheets.class_changes(answers)
        classes = _sheet(sheet, level + 1, shown=MOST_CHANGED if long else None)
    shown = _figure(figure, level + 1, title="Confusion")
    yield f'<div class="figures">{shown}<div>{classes}</div></div>'
    if answers.disagreements:
        yield _heading(SAMPLES_TITLE, level + 1)
        yield f'<p class="note">{SAMPLES_NOTE}</p>'
        samples = "".join(_sample(one) for one in answers.disagreements)
        yield f'<ul class="samples">{samples}</ul>'


def _sample(one: Disagreement) -> str:
    def said(who: str, answer: str, probability: float) -> str:
        kind = "good" if answer == one.truth else "bad"
        return f'<br>{who}: <span class="{kind}">{escape(answer)}</span> {percent(probability, 0)}%'

    alternative = escape(f"test image {one.index}: {one.truth}", quote=True)
    return (
        f'<li><img alt="{alternative}" src="data:image/png;base64,{one.png}">'
        f"<b>{escape(one.truth)}</b> <span class=soft>#{one.index}</span>"
        + said("teacher", one.teacher, one.teacher_probability)
        + said("student", one.student, one.student_probability)
        + "</li>"
    )


def _list(lines: Sequence[str], kind: str = "") -> str:
    items = "".join(f"<li>{_marked(line)}</li>" for line in lines)
    return f'<ul class="{kind}">{items}</ul>' if items else ""


def _marked(text: str) -> str:
    """Escaped text with a verdict at its end in colour."""
    for words, kind in TONES.items():
        bare = text.removesuffix(".")
        if bare.endswith(words):
            head = escape(bare.removesuffix(words))
            return f'{head}<span class="{kind}">{words}</span>{escape(text[len(bare) :])}'
    return escape(text)


def _heading(text: str, level: int) -> str:
    """A heading of what is outlined at this level; no level may be left out."""
    return f"<h{level}>{escape(text)}</h{level}>"


def _sheet(sheet: Sheet | None, level: int, *, shown: int | None = None) -> str:
    """A table in a box that scrolls sideways on its own.

    Args:
        sheet: What it holds; None is nothing.
        level: Of its heading.
        shown: Show this many rows, half from the top and half from the end, and fold all away.
    """
    if sheet is None:
        return ""
    title = _heading(sheet.title, level)
    note = "".join(f'<p class="note">{escape(line)}</p>' for line in sheet.note.splitlines())
    if shown is None:
        return title + _table(sheet, sheet.title) + note
    half, count = shown // 2, len(sheet.rows)
    ends = replace(sheet, rows=sheet.rows[:half] + sheet.rows[-half:])
    some = _table(ends, sheet.title)
    everything = _table(sheet, f"{sheet.title}, all {count}")
    return (
        f'{title}<p class="note">The {half} lowest and the {half} highest of {count}.</p>{some}'
        f"{note}<details><summary>all {count}</summary>{everything}</details>"
    )


def _table(sheet: Sheet, name: str) -> str:
    """The box can be reached and scrolled by keyboard, and is announced by its name."""
    kinds = [' class="words"' if 0 < n < sheet.words else "" for n in range(len(sheet.heads))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(one)}</th>'
        for one, kind in zip(sheet.heads, kinds, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{_foldable(row[0])}</th>'
        + "".join(
            f"<td{kind}>{_marked(cell)}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True)
        )
        + "</tr>"
        for row in sheet.rows
    )
    label = escape(name, quote=True)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _foldable(name: str) -> str:
    """An escaped name that may be folded after its hyphens and underscores."""
    return escape(name).replace("_", "_<wbr>").replace("-", "-<wbr>")


def _figures(figures: Sequence[Figure], level: int) -> str:
    inside = "".join(_figure(figure, level) for figure in figures)
    return f'<div class="figures">{inside}</div>'


def _figure(figure: Figure, level: int, title: str | None = None) -> str:
    """An SVG as an image of its own: names inside it cannot clash with those of another.

    Args:
        figure: The picture.
        level: Of its heading.
        title: Above it instead of its own.
    """
    content = base64.b64encode(figure.content).decode("ascii")
    alternative = escape(f"{figure.title}. {figure.caption}", quote=True)
    return (
        f"<figure>{_heading(title or figure.title, level)}"
        f'<img alt="{alternative}" src="data:image/svg+xml;base64,{content}">'
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )
