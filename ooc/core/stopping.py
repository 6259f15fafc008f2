"""Signals that ask a process to end: at once, or where there is something to save, after that.

Terminals send SIGHUP as they close, and schedulers SIGUSR1 as a warning before a job's time is up.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
Handler = Callable[[int, FrameType | None], object]


class Interrupted(BaseException):
    """A signal that ends the process; its number is the first argument."""


class Stop(threading.Event):
    """A request to save and end; `in_steps` tells that there is a run that would heed it."""

    in_steps = False


# Signals that were raised: what they break off, such as a loop half made, may complain.
_RAISED: list[int] = []


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise the signal as an exception, wherever the main thread is."""
    _RAISED.append(number)
    raise Interrupted(number)


def again(unraised: "sys.UnraisableHookArgs") -> None:
    """Send a signal again that met what can raise nothing, as a callback of a compiler's."""
    if isinstance(unraised.exc_value, Interrupted):
        later = threading.Timer(0.05, os.kill, (os.getpid(), unraised.exc_value.args[0]))
        later.daemon = True
        later.start()
    elif not _RAISED:
        sys.__unraisablehook__(unraised)


def listen(handler: Handler) -> dict[int, object]:
    """Have signals handled that ask to end; return what handled them before.

    Those that are ignored, as SIGHUP is by nohup, stay so.
    """
    heard = [int(number) for number in ASKING if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}


def status_of(error: BaseException) -> int:
    """Return the exit status that tells of an interrupt."""
    return 128 + (error.args[0] if isinstance(error, Interrupted) else signal.SIGINT)


def told(error: BaseException) -> str:
    """Say which signal it was.

    Examples
    --------
    >>> told(Interrupted(15))
    'ooc: ended by SIGTERM'
    """
    return f"ooc: ended by {signal.Signals(status_of(error) - 128).name}"
