"""Readers that were left are ended by a thread of their own, one after the other.

A loop that is left may be ended by the garbage collector, in whichever thread it runs and under
whichever lock: there nothing may be waited for.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue


class _Ending:
    """The thread, which begins when somebody first waits, and what it has to end."""

    def __init__(self) -> None:
        self.left: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ooc-ending", daemon=True)
        self._lock = threading.Lock()

    def _run(self) -> None:
        while True:
            with suppress(Exception):  # whoever waits for the next one waits for this thread
                self.left.get()()

    def wait(self) -> None:
        """Wait until all that were left so far have ended."""
        ended = threading.Event()
        with self._lock:
            if not self._thread.is_alive():
                self._thread.start()
        self.left.put(ended.set)
        ended.wait()


_ENDING = _Ending()


def _renew() -> None:
    """Begin anew in a child, where no thread has come along."""
    global _ENDING
    _ENDING = _Ending()


os.register_at_fork(after_in_child=_renew)


def end_later(end: Callable[[], object]) -> None:
    """Have something ended; nothing is waited for, and no lock taken."""
    _ENDING.left.put(end)


def wait_for_others() -> None:
    """Wait until readers that were left have ended: their memory is given to what comes next."""
    _ENDING.wait()
