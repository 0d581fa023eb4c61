"""Progress at a terminal, in a log, and not at all."""

import io
import os
import pty
import re
import threading
from pathlib import Path
from typing import TextIO

import pytest
from rich.table import Column

from compress.render import live
from compress.render.live import Bar, Lines, Quiet, figure, make_progress
from compress.streams import Messages

SHOW_CURSOR = "\x1b[?25h"
HIDE_CURSOR = "\x1b[?25l"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A pseudo-terminal and everything that was written to it."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.stream: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self._parts: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while part := os.read(self._master, 65536):
                self._parts.append(part)
        except OSError:  # the other end was closed
            return

    def close(self) -> str:
        """What was written, control sequences included."""
        self.stream.close()
        self._reader.join(5)
        os.close(self._master)
        return b"".join(self._parts).decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def epoch(progress: live.Shown, number: int, total: int = 2) -> None:
    progress.start(f"epoch {number}/{total}", total=4, unit="step")
    for step in range(4):
        progress.advance(1, images=128, loss=1 / (step + 1), top1=0.875)
    progress.finish(f"epoch {number}/{total}  loss 0.25")


def test_a_log_gets_one_line_per_epoch_and_note() -> None:
    stream = io.StringIO()
    with make_progress(stream=stream) as progress:
        progress.note("device: cpu")
        epoch(progress, 1)
        epoch(progress, 2)
        progress.start("teacher", total=3, unit="view")
        progress.finish()
    assert stream.getvalue() == "device: cpu\nepoch 1/2  loss 0.25\nepoch 2/2  loss 0.25\n"


def test_quiet_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with make_progress(quiet=True) as progress:
        progress.note("device: cpu")
        epoch(progress, 1)
    assert capfd.readouterr() == ("", "")


def test_standard_error_is_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    with make_progress() as progress:
        progress.note("device: cpu")
    assert capsys.readouterr() == ("", "device: cpu\n")


def test_a_terminal_gets_a_bar_with_figures_speed_and_time_left(terminal: Terminal) -> None:
    with make_progress(stream=terminal.stream) as progress:
        progress.start("epoch 1/1", total=10, unit="step")
        for _ in range(5):
            progress.advance(1, images=128, loss=0.4123, top1=0.875)
        assert isinstance(progress, Bar)
        assert progress._live is not None
        progress._live.refresh()
        progress.finish("epoch 1/1  loss 0.41")
    shown = CONTROL.sub("", terminal.close())
    line = next(line for line in re.split(r"[\r\n]+", shown) if "50%" in line)
    assert line.startswith("epoch 1/1 ")
    assert "loss 0.412  top1 87.5%" in line
    assert re.search(r"[\d,]+ img/s \S+ left", line)
    assert len(line) <= 80


def test_the_summary_stays_when_the_bar_goes(terminal: Terminal) -> None:
    with make_progress(stream=terminal.stream) as progress:
        epoch(progress, 1)
    written = terminal.close()
    assert written.rstrip().endswith("epoch 1/2  loss 0.25")


def test_the_cursor_is_shown_again_after_a_failure(terminal: Terminal) -> None:
    def interrupted() -> None:
        with make_progress(stream=terminal.stream) as progress:
            progress.start("epoch 1/2", total=4, unit="step")
            progress.advance(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    written = terminal.close()
    assert HIDE_CURSOR in written
    assert written.rindex(SHOW_CURSOR) > written.rindex(HIDE_CURSOR)


def test_a_terminal_that_was_closed_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a training that was started with `nohup`."""
    monkeypatch.setenv("TERM", "xterm-256color")
    master, slave = pty.openpty()
    with Messages(os.fdopen(slave, "wb"), line_buffering=True) as stream:
        with make_progress(stream=stream) as progress:
            assert isinstance(progress, Bar)
            os.close(master)
            progress.note("device: cpu")
            epoch(progress, 1)
        assert os.path.samestat(os.fstat(stream.fileno()), Path(os.devnull).stat())


def test_text_from_outside_is_no_markup(terminal: Terminal) -> None:
    with make_progress(stream=terminal.stream) as progress:
        progress.start("reading [bold]x[/bold]", total=2, unit="picture")
        progress.advance(1)
        progress.note("folder [red]a[/red]")
        progress.finish("read [/] all")
    shown = CONTROL.sub("", terminal.close())
    for text in ("reading [bold]x[/bold]", "folder [red]a[/red]", "read [/] all"):
        assert text in shown


def test_a_new_task_takes_the_place_of_one_that_never_finished(terminal: Terminal) -> None:
    with make_progress(stream=terminal.stream) as progress:
        progress.start("first", total=2, unit="step")
        progress.start("second", total=2, unit="step")
        progress.advance(2)
        progress.finish("done")
    assert "done" in terminal.close()


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_progress(stream=terminal.stream), Lines)
    terminal.close()


def test_quiet_wins_over_a_terminal(terminal: Terminal) -> None:
    assert isinstance(make_progress(quiet=True, stream=terminal.stream), Quiet)
    assert terminal.close() == ""


@pytest.mark.parametrize(
    ("unit", "total", "images", "shown"),
    [
        ("picture", 4, 0, "2/4 pictures"),
        ("MiB", 4, 0, "2/4 MiB"),
        ("picture", 0, 0, "2 pictures"),
        ("byte", 2048, 0, "2 B of 2.0 KiB"),
    ],
)
def test_the_bar_counts_what_is_counted(
    terminal: Terminal, unit: str, total: int, images: int, shown: str
) -> None:
    with make_progress(stream=terminal.stream) as progress:
        progress.start("work", total=total, unit=unit)
        progress.advance(2, images=images)
        assert isinstance(progress, Bar)
        assert progress._live is not None
        progress._live.refresh()
        progress.finish()
    assert shown in CONTROL.sub("", terminal.close())


def test_the_time_left_is_that_of_all_epochs() -> None:
    pace = live._Pace()
    pace.start("epoch 1/4", 100.0)
    assert pace.left(6.0, 104.0) == 6.0 + 3 * 10.0
    pace.start("teacher, view 2", 110.0)
    assert pace.left(3.0, 112.0) == 3.0
    pace.start("epoch 2/4", 112.0)
    assert pace.left(10.0, 112.0) == 10.0 + 2 * 12.0
    pace.start("epoch 3/4", 122.0)
    assert pace.left(1.0, 130.0) == 1.0 + 11.0


def test_an_epoch_that_an_earlier_process_began_is_no_measure_of_the_others() -> None:
    pace = live._Pace()
    pace.start("epoch 3/6", 100.0)
    pace.skip(0.75)
    # its last quarter takes 3 s + 2 s
    assert pace.left(2.0, 103.0) == 2.0 + 3 * 20.0
    pace.start("epoch 4/6", 105.0)
    assert pace.left(24.0, 105.0) == 24.0 + 2 * 24.0
    pace.start("epoch 5/6", 129.0)
    assert pace.left(20.0, 130.0) == 20.0 + 24.0


def test_the_bar_of_a_resumed_epoch_counts_what_is_done_here(terminal: Terminal) -> None:
    with make_progress(stream=terminal.stream) as progress:
        assert isinstance(progress, Bar)
        progress.start("epoch 3/5", total=400, unit="step")
        progress.advance(300)
        for _ in range(4):
            progress.advance(1, images=128)
        assert progress._live is not None
        (task,) = progress._live.tasks
        rate = live._Rate("step", table_column=Column()).render(task).plain
        assert rate == f"{128 * (task.speed or 0):,.0f} img/s"
        now = progress._pace._began + 3.0
        assert progress._pace.left(2.0, now) == pytest.approx(2.0 + 2 * 20.0)
        progress.finish()
    terminal.close()


def test_an_epoch_that_begins_here_is_whole(terminal: Terminal) -> None:
    with make_progress(stream=terminal.stream) as progress:
        assert isinstance(progress, Bar)
        progress.start("epoch 1/5", total=4, unit="step")
        progress.advance(0)
        progress.advance(1)
        now = progress._pace._began + 3.0
        assert progress._pace.left(2.0, now) == pytest.approx(2.0 + 4 * 5.0)
        progress.finish()
    terminal.close()


def test_a_long_name_shortens_the_bar_and_not_what_is_said(terminal: Terminal) -> None:
    with make_progress(stream=terminal.stream) as progress:
        progress.start("group 12/15 epoch 13/20", total=400, unit="step")
        progress.advance(200, loss=0.4123, top1=0.875)
        assert isinstance(progress, Bar)
        assert progress._live is not None
        progress._live.refresh()
        progress.finish()
    shown = CONTROL.sub("", terminal.close())
    line = next(line for line in re.split(r"[\r\n]+", shown) if "50%" in line)
    assert line.startswith("group 12/15 epoch 13/20 ")
    assert " 50% loss 0.412  top1 87.5% 200/400 steps -:-- left" in line
    assert len(line) <= 80


def test_the_time_left_goes_by_the_epochs_and_not_by_the_group_before_them() -> None:
    pace = live._Pace()
    pace.start("group 2/15 epoch 3/4", 0.0)
    assert pace.left(6.0, 4.0) == 6.0 + 10.0


def test_another_training_forgets_the_pace_of_the_last() -> None:
    pace = live._Pace()
    pace.start("epoch 1/2", 0.0)
    pace.start("epoch 2/2", 100.0)
    pace.start("epoch 1/5", 200.0)
    assert pace.left(4.0, 201.0) == 4.0 + 4 * 5.0


def test_accuracies_are_shown_in_per_cent_and_losses_with_three_digits() -> None:
    assert figure("top1", 0.8725) == "top1 87.2%"
    assert figure("val_top1", 1.0) == "val top1 100.0%"
    assert figure("loss", 0.41234) == "loss 0.412"
