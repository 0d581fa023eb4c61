"""The files of a report."""

from pathlib import Path

import pytest

from compress.errors import InputError
from compress.records.report import ReportRecord
from compress.render.html import page
from compress.render.report_files import write_report


def test_page_markdown_and_pictures_are_written(
    digits_report: ReportRecord, tmp_path: Path
) -> None:
    record = digits_report.model_copy(update={"folder": str(tmp_path / "out")})
    files = write_report(record)
    assert files[:2] == [tmp_path / "out" / "report.html", tmp_path / "out" / "report.md"]
    assert files[0].read_text(encoding="utf-8") == page(record)
    assert sorted(files) == sorted(p for p in (tmp_path / "out").rglob("*") if p.is_file())


def test_a_folder_that_cannot_be_made_is_an_input_error(
    digits_report: ReportRecord, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match="out"):
        write_report(digits_report.model_copy(update={"folder": str(tmp_path / "out")}))
