"""The first signal asks, the second ends."""

import os
import signal
import threading

import pytest

from compress.interrupts import polite_stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_a_request_and_is_told_once(number: int) -> None:
    told: list[str] = []
    with polite_stop(told.append) as stop:
        before = stop.requested
        os.kill(os.getpid(), number)
        after = stop.requested
    assert (before, after) == (False, True)
    assert told == ["stopping after this epoch is saved; once more to stop now"]


def _two_signals(first: int, second: int) -> None:
    with polite_stop(lambda _: None):
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), second)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_interrupts_at_once(second: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        _two_signals(signal.SIGTERM, second)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with polite_stop(lambda _: None):
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_request_inside_a_longer_work_is_one_to_all_of_it() -> None:
    told: list[str] = []
    with polite_stop(told.append) as outer:
        with polite_stop(told.append) as inner:
            os.kill(os.getpid(), signal.SIGINT)
            heard = inner.requested
        with polite_stop(told.append) as later:
            pass
    assert heard
    assert outer.requested
    assert later.requested
    assert len(told) == 1
    with polite_stop(told.append) as another:
        assert not another.requested


def test_outside_the_main_thread_it_does_nothing() -> None:
    seen: list[bool] = []

    def work() -> None:
        with polite_stop(lambda _: None) as stop:
            seen.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
