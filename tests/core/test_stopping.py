"""Signals that ask to end: the first saves, where there is something to save."""

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ooc.core import stopping
from ooc.core.stopping import Interrupted, interruptible, listen, status_of, told


@pytest.fixture(autouse=True)
def handlers_come_back() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_interrupt_saves_and_says_where() -> None:
    with pytest.raises(KeyboardInterrupt) as ended, interruptible(None, "runs/a") as stop:
        assert not stop.is_set()
        stop.in_steps = True
        press()
        assert stop.is_set()
    assert str(ended.value) == "the run is saved in runs/a; ooc.resume goes on with it"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("pressed", [1, 2])
def test_a_second_interrupt_or_one_before_the_first_step_ends_at_once(pressed: int) -> None:
    seen = []
    with pytest.raises(KeyboardInterrupt) as ended, interruptible(None, "runs/a") as stop:
        stop.in_steps = pressed == 2
        for number in range(2):
            press()
            seen.append(number)
    assert len(seen) == pressed - 1
    assert "is saved" not in str(ended.value)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_that_nobody_interrupts_ends_as_it_does() -> None:
    with interruptible(None, "runs/a") as stop:
        assert isinstance(stop, stopping.Stop)
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("how", ["own stop", "nothing saved", "other handler", "other thread"])
def test_an_interrupt_that_somebody_else_handles_is_left_to_them(how: str) -> None:
    mine = threading.Event() if how == "own stop" else None
    if how == "other handler":
        signal.signal(signal.SIGINT, lambda *given: None)
    before, found = signal.getsignal(signal.SIGINT), list[Any]()

    def enter() -> None:
        with interruptible(mine, None if how == "nothing saved" else "runs/a") as stop:
            found.append((stop, signal.getsignal(signal.SIGINT)))

    if how == "other thread":
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    else:
        enter()
    assert found == [(mine, before)]


def test_signals_that_ask_are_heard_unless_they_are_ignored() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    before = listen(lambda number, frame: heard.append(number))
    assert set(before) == {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
    assert before[signal.SIGUSR1] is signal.SIG_DFL
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
        os.kill(os.getpid(), number)
    assert heard == [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT]


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (Interrupted(signal.SIGTERM), 143, "ooc: ended by SIGTERM"),
        (Interrupted(signal.SIGHUP), 129, "ooc: ended by SIGHUP"),
        (KeyboardInterrupt(), 130, "ooc: ended by SIGINT"),
    ],
)
def test_an_interrupt_is_told_by_status_and_name(
    error: BaseException, status: int, words: str
) -> None:
    assert (status_of(error), told(error)) == (status, words)


def test_an_interrupt_is_raised_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_RAISED", [])
    with pytest.raises(Interrupted) as raised:
        stopping.interrupt(signal.SIGTERM, None)
    assert status_of(raised.value) == 128 + signal.SIGTERM
    assert stopping._RAISED == [signal.SIGTERM]


def test_a_signal_that_is_dropped_on_its_way_comes_again() -> None:
    """As by code of C that looks for what may not be there and minds no error."""
    heard = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.set())
    try:
        with contextlib.suppress(Interrupted):
            stopping.interrupt(signal.SIGUSR1, None)
        assert heard.wait(10)
        heard.clear()
        with pytest.raises(Interrupted) as raised:
            stopping.interrupt(signal.SIGUSR1, None)
        assert status_of(raised.value) == 128 + signal.SIGUSR1
        del raised
        gc.collect()
        assert not heard.wait(0.3)
    finally:
        signal.signal(signal.SIGUSR1, before)
