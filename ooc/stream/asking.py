"""Questions to a scheduler of the user's, which may never be answered."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, wait
from contextvars import copy_context
from typing import Any

from ooc.core.errors import InputError

# How often it is looked whether somebody still waits for the answer.
LOOK_SECONDS = 0.5


def ask_apart(
    scheduler: Callable[..., Any], ended: threading.Event, graph: Mapping[Any, Any], keys: list[Any]
) -> Any:
    """Return what a scheduler of the user's answers, until its reader is ended.

    A client that is closed meanwhile may never answer: nobody waits for that thread, neither the
    next loop nor the process that ends.

    Raises
    ------
    CancelledError
        If `ended` is set.
    InputError
        If the scheduler is of a client that was closed.
    """
    answer: Future[Any] = Future()

    def ask() -> None:
        try:
            answer.set_result(scheduler(graph, keys))
        except BaseException as error:
            answer.set_exception(error)

    asking = threading.Thread(
        target=copy_context().run, args=(ask,), name="ooc-asking", daemon=True
    )
    asking.start()
    client = getattr(scheduler, "__self__", None)
    while not wait([answer], LOOK_SECONDS).done:
        if ended.is_set():
            raise CancelledError
        if getattr(client, "status", None) == "closed":
            raise InputError(
                "the client of Dask was closed in the midst of a loop over rows; keep it open "
                "until the loop is over, or begin another loop"
            )
    return answer.result()
