"""Which runs of a report are on the same data."""

import pytest

from compress.records.report import ReportRecord, RunReport
from compress.records.run import InputRecord
from compress.render.report_data import by_data
from compress.render.report_figures import overview_figures
from compress.render.report_sheets import comparison


def on(run: RunReport, source: str, sha256: str) -> RunReport:
    """The run on a folder that is called images."""
    inputs = {"data": InputRecord(source=source, sha256=sha256 * 64)}
    result = run.result.model_copy(update={"data": "images"})
    return run.model_copy(update={"inputs": inputs, "result": result})


@pytest.fixture
def on_two_folders(two_runs_report: ReportRecord) -> list[RunReport]:
    """The first and the third on one, asked for in two ways; the second on another."""
    first, second = two_runs_report.runs
    return [
        on(first, "cats/images", "c"),
        on(second, "cars/images", "d"),
        on(first, "./cats/images", "c"),
    ]


def test_folders_of_one_name_are_not_one_data_set(on_two_folders: list[RunReport]) -> None:
    groups = by_data(on_two_folders)
    assert [group.data for group in groups] == ["images (cats/images)", "images (cars/images)"]
    assert [[number for number, _ in group.runs] for group in groups] == [[1, 3], [2]]


def test_a_folder_asked_for_in_the_same_way_is_the_same(two_runs_report: ReportRecord) -> None:
    first, second = two_runs_report.runs
    groups = by_data([on(first, "images", "c"), on(second, "images", "d")])
    assert [group.data for group in groups] == ["images"]


def test_pictures_and_tables_call_data_alike(on_two_folders: list[RunReport]) -> None:
    figures = overview_figures(on_two_folders, "svg")
    titles = [figure.title.partition(":")[0] for figure in figures]
    assert titles == ["images (cats/images)", "images (cars/images)"]
    assert b">3: " in figures[0].content
    assert b">2: " in figures[1].content
    of_run = {row[0].partition(":")[0]: row[1] for row in comparison(on_two_folders).rows}
    assert of_run == {"1": titles[0], "2": titles[1], "3": titles[0]}
