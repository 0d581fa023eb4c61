"""Write docs/schema/*.json: what `--json` of bench and gate holds, generated from their models.

python docs/make_schemas.py [--out DIR]
"""

import argparse
import json
from pathlib import Path

from compress.records.bench import BenchRecord
from compress.records.document import Document
from compress.records.gate import GateRecord

RECORDS: dict[str, type[Document]] = {"bench": BenchRecord, "gate": GateRecord}


def schema(name: str, record: type[Document]) -> str:
    """The JSON Schema of a record as text, with the schema number it stands for."""
    content = record.model_json_schema(by_alias=True, mode="serialization")
    content["properties"]["schema"]["const"] = record.newest_schema
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"compress {name} --json",
    }
    return json.dumps({**content, **head}, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every schema."""
    parser = argparse.ArgumentParser(description="Write the JSON Schemas of the records.")
    default = Path(__file__).resolve().parent / "schema"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, record in RECORDS.items():
        (out / f"{name}.json").write_text(schema(name, record), encoding="utf-8")


if __name__ == "__main__":
    main()
