"""A report as one HTML page that holds everything: no scripts, no requests."""

import base64
from collections.abc import Iterator, Sequence
from html import escape

from compress.records.report import Answers, Disagreement, ReportRecord, RunReport
from compress.render import report_sheets, report_words
from compress.render.gains import (
    AVERAGE_HELPS,
    AVERAGE_HURTS,
    HELPS,
    HELPS_ONE,
    HURTS,
    HURTS_ONE,
    NOISE,
    TWO_SEEDS,
)
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
VERDICT_CLASSES = {
    HELPS: "good",
    AVERAGE_HELPS: "good",
    HURTS: "bad",
    AVERAGE_HURTS: "bad",
    HELPS_ONE: "noise",
    HURTS_ONE: "bad",
    NOISE: "noise",
    TWO_SEEDS: "noise",
}


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
        parts.append(_sheet(report_sheets.comparison(runs)))
        parts.append(_figures(overview_figures(runs, "svg")))
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
    if not alone:
        yield f'<h2 id="run-{number}">{number}: {escape(run.result.run)}</h2>'
    yield f'<p class="soft">{escape(report_words.subtitle(run))}</p>'
    yield _list(report_words.headlines(run))
    yield _list(run.notes, kind="note")
    for sheet in (
        report_sheets.over_seeds(run),
        report_sheets.accuracy(run),
        report_sheets.cost(run),
        report_sheets.ensembles(run),
    ):
        yield _sheet(sheet)
    yield _figures(run_figures(run, "svg"))
    for answers in run.answers:
        yield from _answers(answers, run)
    sheets = "".join(_sheet(sheet, words=True) for sheet in report_sheets.provenance(run))
    yield f"<h3>Where it comes from</h3><details><summary>inputs and machine</summary>{sheets}"
    yield "</details>"


def _answers(answers: Answers, run: RunReport) -> Iterator[str]:
    """One model in detail; controls are in the tables and curves only."""
    if answers.role == "control":
        return
    figure = confusion_figure(answers, run, "svg")
    yield f"<h3>{escape(figure.title.removeprefix('Confusion of '))}</h3>"
    words = report_words.agreement_words(answers)
    if words:
        yield f"<p>{escape(words)}</p>"
    classes = ""
    if answers.classes:
        sheet, long = report_sheets.class_changes(answers)
        classes = _sheet(sheet, shown=MOST_CHANGED if long else None)
    yield f'<div class="figures">{_figure(figure, title="Confusion")}<div>{classes}</div></div>'
    if answers.disagreements:
        yield f"<h4>{SAMPLES_TITLE}</h4>"
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
    for words, kind in VERDICT_CLASSES.items():
        bare = text.removesuffix(".")
        if bare.endswith(words):
            head = escape(bare.removesuffix(words))
            return f'{head}<span class="{kind}">{words}</span>{escape(text[len(bare) :])}'
    return escape(text)


def _sheet(sheet: Sheet | None, *, words: bool = False, shown: int | None = None) -> str:
    """A table in a box that scrolls sideways on its own.

    Args:
        sheet: What it holds; None is nothing.
        words: Whether cells hold words to be folded, not numbers.
        shown: Show this many rows, half from the top and half from the end, and fold all away.
    """
    if sheet is None:
        return ""
    title = f"<h4>{escape(sheet.title)}</h4>"
    note = "".join(f'<p class="note">{escape(line)}</p>' for line in sheet.note.splitlines())
    if shown is None:
        return title + _table(sheet, sheet.rows, words=words) + note
    half = shown // 2
    some = _table(sheet, sheet.rows[:half] + sheet.rows[-half:], words=words)
    everything = _table(sheet, sheet.rows, words=words)
    count = len(sheet.rows)
    return (
        f'{title}<p class="note">The {half} lowest and the {half} highest of {count}.</p>{some}'
        f"{note}<details><summary>all {count}</summary>{everything}</details>"
    )


def _table(sheet: Sheet, rows: Sequence[Sequence[str]], *, words: bool) -> str:
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in sheet.heads)
    body = "".join(
        f'<tr><th scope="row">{_foldable(row[0])}</th>'
        + "".join(f"<td>{_marked(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    kind = ' class="words"' if words else ""
    return (
        f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _foldable(name: str) -> str:
    """An escaped name that may be folded after its hyphens and underscores."""
    return escape(name).replace("_", "_<wbr>").replace("-", "-<wbr>")


def _figures(figures: Sequence[Figure]) -> str:
    inside = "".join(_figure(figure) for figure in figures)
    return f'<div class="figures">{inside}</div>'


def _figure(figure: Figure, title: str | None = None) -> str:
    """An SVG as an image of its own: names inside it cannot clash with those of another."""
    content = base64.b64encode(figure.content).decode("ascii")
    alternative = escape(f"{figure.title}. {figure.caption}", quote=True)
    return (
        f"<figure><h4>{escape(title or figure.title)}</h4>"
        f'<img alt="{alternative}" src="data:image/svg+xml;base64,{content}">'
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )
