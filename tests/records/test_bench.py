import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from compress.errors import InputError
from compress.records.bench import BenchModel, BenchRecord, Times

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parents[2]
LEAST = {
    "name": "small", "role": "student", "precision": "fp32", "sha256": "0", "size_bytes": 1,
    "parameters": None, "macs": None,
}  # fmt: skip


def test_the_published_schemas_are_those_of_the_models(tmp_path: Path) -> None:
    script = ROOT / "docs" / "make_schemas.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    built = {path.name: path.read_text() for path in tmp_path.iterdir()}
    published = {path.name: path.read_text() for path in (ROOT / "docs" / "schema").iterdir()}
    assert built == published


@pytest.mark.parametrize("name", ["bench", "gate"])
def test_the_published_schemas_are_json_schemas(name: str) -> None:
    schema = json.loads((ROOT / "docs" / "schema" / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"]["const"] == 1


def test_a_row_that_was_neither_asked_nor_timed_has_nulls() -> None:
    row = BenchModel.model_validate(LEAST)
    assert (row.top1, row.p50_ms, row.speedup) == (None, None, None)
    assert (row.images, row.samples) == (0, 0)
    assert row.label == "small fp32"
    assert all(getattr(row, name) in (None, 0, False) for name in Times.model_fields)


def test_a_record_of_another_schema_is_refused_with_both_numbers(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text('{"schema": 7, "models": []}')
    with pytest.raises(InputError, match="has schema 7, this version reads 1"):
        BenchRecord.read(path)


def test_roles_are_the_three_of_the_contract() -> None:
    with pytest.raises(ValidationError):
        BenchModel.model_validate({**LEAST, "role": "baseline"})
