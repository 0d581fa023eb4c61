"""Records go to JSON and come back, or say what is wrong with the file."""

import json
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from compress.errors import InputError
from compress.records.document import Document, Part


class _Row(Part):
    p50_ms: float


class _Table(Document):
    newest_schema: ClassVar[int] = 1

    name: str
    rows: tuple[_Row, ...] = ()


def _write(folder: Path, text: str) -> Path:
    path = folder / "table.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_record_is_indented_json_with_its_schema() -> None:
    text = _Table(name="α", rows=(_Row(p50_ms=1.5),)).to_json()
    assert text.endswith("}\n")
    assert "α" in text
    assert json.loads(text) == {"schema": 1, "name": "α", "rows": [{"p50_ms": 1.5}]}


def test_json_stays_json_where_a_figure_is_not_a_number() -> None:
    text = _Table(name="a", rows=(_Row(p50_ms=float("nan")),)).to_json()
    assert json.loads(text, parse_constant=pytest.fail)["rows"] == [{"p50_ms": None}]


def test_a_record_comes_back_equal(tmp_path: Path) -> None:
    table = _Table(name="a", rows=(_Row(p50_ms=1.5), _Row(p50_ms=2.0)))
    assert _Table.read(_write(tmp_path, table.to_json())) == table


def test_a_field_that_a_newer_version_added_is_passed_over(tmp_path: Path) -> None:
    text = '{"schema": 1, "name": "a", "new": 0, "rows": [{"p50_ms": 2.0, "p95_ms": 3.0}]}'
    assert _Table.read(_write(tmp_path, text)) == _Table(name="a", rows=(_Row(p50_ms=2.0),))
    with pytest.raises(ValidationError, match="Extra inputs"):
        _Table.model_validate({"name": "a", "new": 0})


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        _Table(name="a").name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ('{"schema": 1, "na', "is not JSON"),
        ("[]", "has schema None, this version reads 1"),
        ('{"name": "a"}', "has schema None, this version reads 1"),
        ('{"schema": 2, "name": "a"}', "has schema 2, this version reads 1"),
        ('{"schema": 1}', "is no _Table: name: Field required"),
        ('{"schema": 1, "name": "a", "rows": [{}]}', r"is no _Table: rows\.0\.p50_ms: Field"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _Table.read(_write(tmp_path, text))


def test_a_missing_file_and_a_folder_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        _Table.read(tmp_path / "gone.json")
    with pytest.raises(InputError, match="cannot read"):
        _Table.read(tmp_path)


def test_bytes_that_are_no_text_are_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not JSON"):
        _Table.read(tmp_path / "x.json")
