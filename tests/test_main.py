"""The program: what is set before the command line runs, and how a signal ends it."""

import os
import signal
import sys
from typing import Any

import pytest

import ooc
import ooc.__main__ as program
import ooc.cli
from ooc.core.stopping import Interrupted, hush, interrupt


class Left(BaseException):
    """Stands for the end of the process, with its status."""


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what the program does, in its order; the process is left alone."""
    found: list[Any] = []

    def leave(status: int) -> None:
        found.append(("left", status))
        raise Left

    monkeypatch.setattr(program, "listen", lambda handler: found.append(("listens", handler)))
    monkeypatch.setattr("gc.set_threshold", lambda *counts: found.append(("collects", counts)))
    monkeypatch.setattr(program, "share_heaps", lambda: found.append("shares heaps"))
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(os, "_exit", leave)
    return found


def test_the_command_line_runs_when_all_is_set(
    done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ooc.cli, "run", lambda: done.append(("runs", sys.unraisablehook)))
    program.main()
    before = [("listens", interrupt), ("collects", (20_000, 20, 100)), "shares heaps"]
    assert done == [*before, ("runs", hush)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_at_once_with_its_status(
    done: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    def run() -> None:
        raise Interrupted(number)

    monkeypatch.setattr(ooc.cli, "run", run)
    with pytest.raises(Left):
        program.main()
    assert done[-1] == ("left", 128 + number)
    printed = capsys.readouterr()
    assert printed.err == f"ooc: ended by {number.name}\n"
    assert printed.out == ""


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'ooc' has no attribute 'trainer'"):
        ooc.trainer  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'ooc\.optim' has no attribute 'newton'"):
        ooc.optim.newton  # noqa: B018
    assert ooc.optim.lbfgs().name == "lbfgs"
    assert ooc.__version__ == ooc.version.VERSION  # type: ignore[attr-defined]
