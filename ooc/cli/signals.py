"""SIGINT and SIGTERM as requests to save and stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def stopping_signals() -> Iterator[threading.Event]:
    """Turn the first SIGINT or SIGTERM into a request to save and stop; the second one kills.

    At the end a signal that was caught becomes the exit status.
    """
    stop, caught = threading.Event(), list[int]()

    def request(number: int, frame: object) -> None:
        caught.append(number)
        stop.set()
        signal.signal(number, previous[number])

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {int(number): signal.signal(number, request) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if caught:
        raise typer.Exit(128 + caught[0])
