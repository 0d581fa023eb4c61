"""How a command ends: its table, or JSON."""

import io
import json
import os
import sys
from functools import partial
from pathlib import Path

import pytest
from rich.rule import Rule

from compress.cli.output import all_of, deliver, deliver_training
from compress.errors import InputError, UnusableError
from compress.records.training import DivergedRow
from tests.fake_run import record, student


class Answer:
    """A record of one number."""

    def to_json(self) -> str:
        return '{"answer": 42}\n'


def never() -> str:
    raise AssertionError("the table was made")


def test_a_dash_writes_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    deliver(Answer(), json="-", table=never)
    assert capsys.readouterr().out == '{"answer": 42}\n'


def test_a_file_is_written_beside_the_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    deliver(Answer(), json=str(tmp_path / "a.json"), table=lambda: "the table")
    assert (tmp_path / "a.json").read_text() == '{"answer": 42}\n'
    assert "the table" in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_an_input_error_after_the_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        deliver(Answer(), json=str(tmp_path / "file" / "a.json"), table=lambda: "the table")
    assert "the table" in capsys.readouterr().out


def test_a_file_is_written_also_where_the_table_fails(tmp_path: Path) -> None:
    def broken() -> str:
        raise ValueError("no table")

    with pytest.raises(ValueError, match="no table"):
        deliver(Answer(), json=str(tmp_path / "a.json"), table=broken)
    assert (tmp_path / "a.json").read_text() == '{"answer": 42}\n'


def test_every_step_is_taken_and_every_failure_told() -> None:
    taken: list[int] = []

    def step(number: int) -> None:
        taken.append(number)
        if number % 2:
            raise InputError(f"no {number}", hint=f"mend {number}")

    with pytest.raises(InputError) as error:
        all_of(*(partial(step, number) for number in range(5)))
    assert taken == [0, 1, 2, 3, 4]
    assert (error.value.message, error.value.hint) == ("no 1; no 3", "mend 1")
    all_of(partial(step, 0), partial(step, 2))

    def full() -> None:
        raise OSError("no space left")

    taken.clear()
    with pytest.raises(OSError, match="no space left"):
        all_of(partial(step, 1), full, partial(step, 2))
    assert taken == [1, 2]


@pytest.mark.parametrize(("count", "more"), [(1, ""), (2, " (and 1 more)"), (12, " (and 11 more)")])
def test_of_many_that_diverged_the_error_tells_of_the_first(
    count: int, more: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = [
        DivergedRow(
            label=f"a-s{seed}",
            model="small_cnn",
            seed=seed,
            role="student",
            epoch=2,
            reason="the loss is NaN",
        )
        for seed in range(count)
    ]
    found = record([student("b")], diverged=tuple(gone))
    with pytest.raises(UnusableError) as error:
        deliver_training(found, json=None, table=lambda: "the table")
    assert error.value.message == f"a-s0 diverged in epoch 2: the loss is NaN{more}"
    assert "the table" in capsys.readouterr().out


def test_a_reader_that_left_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `compress bench last | true`: the command goes on to its own end."""
    for form in (None, "-"):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as closed:
            monkeypatch.setattr(sys, "stdout", closed)
            deliver(Answer(), json=form, table=lambda: "the table")


@pytest.mark.parametrize("form", [None, "-"])
def test_a_full_disk_is_an_input_error_then_and_not_again_at_the_end(
    form: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "^cannot write standard output: No space left on device$"
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(InputError, match=message):
            deliver(Answer(), json=form, table=lambda: "the table")


def test_a_file_is_written_also_where_standard_output_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(InputError, match="standard output"):
            deliver(Answer(), json=str(tmp_path / "a.json"), table=lambda: "the table")
    assert (tmp_path / "a.json").read_text() == '{"answer": 42}\n'


def test_other_ranks_of_torchrun_stay_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    deliver(Answer(), json="-", table=never)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("columns", "width"), [(None, 132), ("80", 80)])
def test_a_log_gets_wide_tables_unless_told(
    columns: str | None,
    width: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: False)
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    deliver(Answer(), json=None, table=lambda: Rule(characters="-"))
    assert capsys.readouterr().out.rstrip("\n") == "-" * width


def test_json_stays_json_where_the_output_has_fewer_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named(Answer):
        def to_json(self) -> str:
            return '{"class": "caf\u00e9 \U0001f600"}\n'

    for encoding in ("ascii", "latin-1", "utf-8"):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
        deliver(Named(), json="-", table=never)
        assert json.loads(written.getvalue().decode(encoding)) == {"class": "caf\u00e9 \U0001f600"}
