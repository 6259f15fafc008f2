"""SIGINT and SIGTERM as requests to save and stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stopping_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """Turn the first SIGINT or SIGTERM into a request to save and stop; the second one kills."""
    stop, caught = threading.Event(), []
    previous: dict[int, Any] = {}
    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)

    def request(number: int, frame: object) -> None:
        caught.append(number)
        stop.set()
        signal.signal(number, previous[number])

    for number in numbers:
        previous[number] = signal.signal(number, request)
    try:
        yield stop, caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
