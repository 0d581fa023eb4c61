"""The page of a report."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from compress.records.report import ReportRecord
from compress.render.html import page

VOID = {"meta", "img", "br", "wbr", "hr", "link", "input"}


class Outline(HTMLParser):
    """Checks that tags are closed in order, and collects what is referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.alternatives: list[str | None] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self.boxes: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.sources.append(known["src"] or "")
            self.alternatives.append(known.get("alt"))
        if known.get("id"):
            self.ids.append(known["id"] or "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if known.get("class") == "scroll":
            self.boxes.append(known)
        if tag == "a":
            self.links.append(known["href"] or "")

    def handle_data(self, data: str) -> None:
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def text(digits_report: ReportRecord) -> str:
    return page(digits_report)


def test_the_page_asks_nobody_for_anything(text: str) -> None:
    parsed = outline(text)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert all(source.startswith("data:image/") for source in parsed.sources)
    outside = re.sub(r'src="data:[^"]*"', "", text)
    assert "http://" not in outside
    assert "https://" not in outside
    assert "default-src 'none'" in text


def test_every_picture_says_what_it_shows(text: str) -> None:
    parsed = outline(text)
    assert len(parsed.sources) >= 5 + 3
    assert all(parsed.alternatives)


def test_tables_curves_confusion_and_samples_are_there(text: str) -> None:
    for words in (
        *("Accuracy", "Calibration and cost", "Accuracy by epoch", "Accuracy against cost"),
        *("Reliability", "Confusion", "Changes by class", "Where teacher and student differ"),
        *("Where it comes from", "resnet56 (teacher)", "within noise"),
    ):
        assert words in text


def test_students_and_teacher_are_shown_in_detail_and_controls_are_not(text: str) -> None:
    titles = [title for level, title in outline(text).headings if level == 2]
    models = ["resnet56 (teacher)", "small_cnn", "mobilenet_v2"]
    assert titles == ["Results", "Curves", *models, "Where it comes from"]


def test_no_level_of_headings_is_left_out(text: str, two_runs_report: ReportRecord) -> None:
    several = outline(page(two_runs_report)).headings
    for headings in (outline(text).headings, several):
        levels = [level for level, _ in headings]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(now <= before + 1 for before, now in pairwise(levels))
    assert [title for level, title in several if level == 2] == ["All runs", "1: seeds", "2: alone"]
    assert (3, "cifar10: accuracy against cost, all runs") in several
    assert several.count((3, "Results")) == 2
    assert several.count((4, "Accuracy")) == 2


def test_tables_can_be_scrolled_by_keyboard_and_have_names(text: str) -> None:
    boxes = outline(text).boxes
    assert len(boxes) == text.count("<table>")
    assert all((box["tabindex"], box["role"]) == ("0", "region") for box in boxes)
    names = [box["aria-label"] for box in boxes]
    assert names[:2] == ["Accuracy", "Calibration and cost"]
    assert all(names)


def test_cells_of_words_are_folded_and_those_of_numbers_are_not(text: str) -> None:
    assert f'<td class="words">{"d" * 64}</td>' in text
    assert '<th scope="col" class="words">sha256</th>' in text
    assert '<th scope="col">parameters</th>' in text
    assert re.search(r"<td>288 k</td>", text)


def test_what_is_left_out_is_said(two_runs_report: ReportRecord) -> None:
    text = page(two_runs_report)
    assert "sample images are left out: cifar10 is not at hand" in text
    assert "Where teacher and student differ" not in text


def test_several_runs_are_compared_and_linked(two_runs_report: ReportRecord) -> None:
    text = page(two_runs_report)
    parsed = outline(text)
    assert "All runs" in text
    assert parsed.links == ["#run-1", "#run-2"]
    assert {"run-1", "run-2"} <= set(parsed.ids)
    assert len(parsed.ids) == len(set(parsed.ids))


def test_equal_records_make_equal_pages(text: str, digits_report: ReportRecord) -> None:
    assert page(digits_report) == text


def test_text_from_outside_is_escaped(digits_report: ReportRecord) -> None:
    evil = "<script>alert(1)</script>"
    run = digits_report.runs[0]
    rows = tuple(row.model_copy(update={"label": evil}) for row in run.rows[:1])
    result = run.result.model_copy(update={"run": evil, "data": evil, "students": rows})
    hurt = run.model_copy(
        update={
            "result": result,
            "class_names": (evil, *run.class_names[1:]),
            "notes": (evil,),
            "choices": {evil: evil},
        }
    )
    text = page(digits_report.model_copy(update={"runs": (hurt,)}))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    outline(text)


def test_a_page_of_a_hundred_classes_folds_the_long_table(digits_report: ReportRecord) -> None:
    run = digits_report.runs[0]
    told = run.answers[1]
    rows = tuple(
        told.classes[0].model_copy(update={"name": f"class {n}", "teacher_top1": n / 100})
        for n in range(100)
    )
    known = {"classes": rows, "confusion": np.eye(100, dtype=int).tolist()}
    long = run.model_copy(update={"answers": (told.model_copy(update=known),)})
    text = page(digits_report.model_copy(update={"runs": (long,)}))
    assert "The 6 lowest and the 6 highest of 100." in text
    assert "<summary>all 100</summary>" in text
    names = [box["aria-label"] for box in outline(text).boxes]
    assert "Changes by class, all 100" in names
