"""Write docs/bench.svg, the README's table, from a record: `python docs/make_picture.py`.

The record is what `compress bench … --json` wrote; the picture shows it as the command does.
"""

import io
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from compress.files import write_text
from compress.records.bench import BenchRecord
from compress.render.tables.bench import table

DOCS = Path(__file__).parent
RECORD = DOCS.parent / "benchmarks" / "records" / "readme-bench.json"
PICTURE = DOCS / "bench.svg"
WIDTH = 132


def picture(record: BenchRecord) -> str:
    """The table of a record as SVG; the same record always gives the same text."""
    console = Console(width=WIDTH, record=True, file=io.StringIO(), force_terminal=True)
    console.print(table(record))
    return console.export_svg(title="compress bench", theme=MONOKAI, unique_id="bench")


if __name__ == "__main__":
    write_text(PICTURE, picture(BenchRecord.read(RECORD)))
