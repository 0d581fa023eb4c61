"""The table of `compress check`."""

import io

import pytest
from rich.console import Console

from compress.render.tables.check import table
from tests.records.test_check import record, row


def show(width: int, *rows: object, verified: int = 2) -> str:
    made = record(*rows)  # type: ignore[arg-type]
    console = Console(file=io.StringIO(), width=width)
    console.print(table(made.model_copy(update={"verified_files": verified})))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 140])
def test_every_file_has_its_verdict(width: int) -> None:
    failed = row(
        "fail", file="model.int8.onnx", precision="int8", different=9, top1_different=2,
        max_difference=1.5, max_steps=3.0, allowed="bit-equal logits", cause="this CPU [saturates]",
    )  # fmt: skip
    shown = show(width, row("pass", max_difference=0.0, allowed="logits within 0.01"), failed)
    assert max(len(line) for line in shown.splitlines()) <= width
    for text in ("pass", "fail", "model.int8.onnx", "1.5e+00", "3.0", "bit-equal logits"):
        assert text in shown
    assert "m model.int8.onnx: this CPU [saturates]" in shown
    assert "2 files equal" in shown


def test_what_was_not_compared_has_no_numbers() -> None:
    line = next(
        line for line in show(140, row("opened", images=0)).splitlines() if "opened" in line
    )
    assert line.split()[3:] == ["0", "-", "-", "-", "-", "-", "-"]


SEALED = row("pass", sealed=True)
ORT = row("pass", file="model.ort")
THEIRS = row("opened", file="theirs.onnx", images=0)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((SEALED,), "no manifest: files were compared with the digests inside them"),
        ((ORT,), "no manifest, and no digest inside model.ort: only the answers were compared"),
        ((SEALED, THEIRS), "no manifest, and no digest inside theirs.onnx: only run"),
        (
            (SEALED, ORT, THEIRS),
            "no digest inside model.ort, theirs.onnx: only the answers were compared",
        ),
    ],
)
def test_only_what_holds_a_digest_was_compared_with_it(rows: tuple[object, ...], said: str) -> None:
    assert said in show(200, *rows, verified=0)
