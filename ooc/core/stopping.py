"""Signals that ask a process to end: at once, or where there is something to save, after that.

Terminals send SIGHUP as they close, and schedulers SIGUSR1 as a warning before a job's time is up.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
# What handles Ctrl-C where nobody else does.
_PYTHONS = signal.default_int_handler
Handler = Callable[[int, FrameType | None], object]


class Interrupted(BaseException):
    """A signal that ends the process; its number is the first argument."""


class _Insistent(Interrupted):
    """One that is sent again if it ends without having been heard.

    Code of C that asks and does not mind an error, as when it looks for an attribute, drops
    whatever is raised in it.
    """

    is_heard = False

    def __del__(self) -> None:
        if not self.is_heard:
            later = threading.Timer(0.05, os.kill, (os.getpid(), self.args[0]))
            later.daemon = True
            later.start()


class Stop(threading.Event):
    """A request to save and end; `in_steps` tells that there is a run that would heed it."""

    in_steps = False


# Signals that were raised: what they break off, such as a loop half made, may complain.
_RAISED: list[int] = []


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise the signal as an exception, wherever the main thread is, until `status_of` hears it."""
    _RAISED.append(number)
    raise _Insistent(number)


def hush(unraised: "sys.UnraisableHookArgs") -> None:
    """Say nothing of what a signal broke off, nor of one that met a callback of a compiler's.

    Such a callback can raise nothing: the signal comes again.
    """
    if not _RAISED:
        sys.__unraisablehook__(unraised)


def listen(handler: Handler) -> dict[int, object]:
    """Have signals handled that ask to end; return what handled them before.

    Those that are ignored, as SIGHUP is by nohup, stay so.
    """
    heard = [int(number) for number in ASKING if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}


@contextmanager
def interruptible(stop: threading.Event | None, saved_in: str | None) -> Iterator[Any]:
    """Turn the first Ctrl-C into a request to save and stop, where there is a run to save.

    A second one, or one before the first step, ends at once, and so does one that somebody else
    handles: a program of its own, or the caller by its `stop`.

    Raises
    ------
    KeyboardInterrupt
        After the run was saved; it says where.
    """
    is_ours = stop is None and saved_in is not None
    in_main = threading.current_thread() is threading.main_thread()
    if not is_ours or not in_main or signal.getsignal(signal.SIGINT) is not _PYTHONS:
        yield stop
        return
    wanted, caught = Stop(), list[int]()

    def request(number: int, frame: FrameType | None) -> None:
        if caught or not wanted.in_steps:
            _PYTHONS(number, frame)
        caught.append(number)
        wanted.set()

    signal.signal(signal.SIGINT, request)
    try:
        yield wanted
    finally:
        signal.signal(signal.SIGINT, _PYTHONS)
    if caught:
        raise KeyboardInterrupt(f"the run is saved in {saved_in}; ooc.resume goes on with it")


def status_of(error: BaseException) -> int:
    """Return the exit status that tells of an interrupt, which is heard with this."""
    if isinstance(error, _Insistent):
        error.is_heard = True
    return 128 + (error.args[0] if isinstance(error, Interrupted) else signal.SIGINT)


def told(error: BaseException) -> str:
    """Say which signal it was.

    Examples
    --------
    >>> told(Interrupted(15))
    'ooc: ended by SIGTERM'
    """
    return f"ooc: ended by {signal.Signals(status_of(error) - 128).name}"
