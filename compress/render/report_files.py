"""Writes a report: one HTML page, and Markdown with its pictures."""

from pathlib import Path

from compress.files import write_bytes, write_text
from compress.records.report import ReportRecord
from compress.render.html import page
from compress.render.report_markdown import document
from compress.render.tables.report import HTML, MARKDOWN


def write_report(record: ReportRecord) -> list[Path]:
    """Write report.html, and report.md with plots/*.png, into the record's folder.

    Returns:
        The files.

    Raises:
        InputError: One cannot be written.
    """
    folder = Path(record.folder)
    text, pictures = document(record)
    for name, content in pictures.items():
        write_bytes(folder / name, content)
    write_text(folder / MARKDOWN, text)
    write_text(folder / HTML, page(record))
    return [folder / HTML, folder / MARKDOWN, *(folder / name for name in pictures)]
