"""What runs in a Dask worker: a long task that serves lanes, and the door by which it is asked.

The door is an operation of the worker's own server, beside Dask's: nothing else listens. A
connection that comes in by it is handed to the task's own thread, which reads questions and writes
answers itself, see `ooc.cluster.line`.
"""

import asyncio
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker
from distributed.comm import Comm
from distributed.core import Status

from ooc.cluster.lane_server import LaneServer
from ooc.cluster.line import GoneError, Line
from ooc.cluster.messages import LaneWork
from ooc.cluster.step_frames import StepFrame, pack_answer, unpack_question
from ooc.core.process import share_heaps

OPERATION = "ooc_lanes"
# How long the task waits for the client to call, and the client's call for the task to begin.
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.01
# How long a thread that reads may keep the interpreter from the one that answers: Python's five
# milliseconds are many shares.
SWITCH_SECONDS = 0.0001
# Before Python 3.11.9 whoever looks at the stacks of other threads, as Dask's profiler does a
# hundred times a second, may hang for ever with one that starts a thread (CPython's gh-106883).
SAMPLING_HANGS = sys.version_info < (3, 11, 9)


@dataclass(frozen=True)
class Door:
    """Where the task of a run takes the connection of the client.

    Attributes
    ----------
    lines
        The connection, once it is there.
    ended
        Set, on the event loop, where the task has ended.
    """

    lines: "queue.SimpleQueue[Line]" = field(default_factory=queue.SimpleQueue)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


# By the names of runs, in this process.
_DOORS: dict[str, Door] = {}


class LanesPlugin(WorkerPlugin):
    """Gives each worker the door, those that join later, too."""

    name = "ooc-lanes"

    def setup(self, worker: Worker) -> None:
        """Add the operation to those of the worker; where its profiler may hang it, end that."""
        worker.handlers[OPERATION] = converse
        sampler = worker.periodic_callbacks.pop("profile", None) if SAMPLING_HANGS else None
        if sampler is not None:
            sampler.stop()


def serve_lanes(work: LaneWork, run: str) -> int:
    """Serve lanes until the client hangs up; return how many questions were answered.

    It is a task of Dask's, and holds one of the worker's threads meanwhile.
    """
    # Dask's nannies have freed memory given back at once: each chunk's would fault in anew.
    share_heaps()
    worker, door = get_worker(), Door()
    _DOORS[run] = door
    server, refusal = None, ""
    try:
        try:
            server = LaneServer(work, f"worker {worker.address}", worker.state.nthreads)
        except Exception as error:
            # It goes to the client by the door, as all that is said; Dask would add its traceback.
            refusal = str(error)
        with _quick_switches():
            return _converse(door.lines.get(timeout=PATIENCE_SECONDS), server, refusal)
    except queue.Empty:  # the client is gone
        return 0
    finally:
        _DOORS.pop(run, None)
        worker.loop.add_callback(door.ended.set)
        if server is not None:
            server.close()


@contextmanager
def _quick_switches() -> Iterator[None]:
    """Let threads of this process take turns quickly."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _converse(line: Line, server: LaneServer | None, refusal: str) -> int:
    """Greet the client, and answer its questions until it hangs up."""
    answered = 0
    with suppress(GoneError):
        line.send((server is not None, refusal, False))
        while True:
            if server is not None:
                answered += server.answer_steps(line)
            message, _ = line.receive()
            try:
                answer = (False, refusal, False) if server is None else _answer(server, message)
            except Exception as error:
                # The client would ask again here, and for ever, what can never be answered.
                line.send((False, f"{type(error).__name__} in a worker: {error}", False))
                raise
            line.send(answer)
            answered += 1
    return answered


def _answer(server: LaneServer, message: Any) -> Any:
    """Return the answer to a question, in the form in which it was asked."""
    if not isinstance(message, StepFrame):
        return server.answer(message)
    step, shares = unpack_question(message)
    is_answer, answer, *rest = server.answer(("shares", step, shares))
    return pack_answer(answer, len(step.active)) if is_answer else (is_answer, answer, *rest)


async def converse(comm: Comm, run: str) -> Status:
    """Hand the connection to the task of a run, until that has ended."""
    line = Line(comm)
    for _ in range(int(PATIENCE_SECONDS / LOOK_SECONDS)):
        if run in _DOORS:
            door = _DOORS[run]
            door.lines.put(line)
            await door.ended.wait()
            break
        await asyncio.sleep(LOOK_SECONDS)
    else:
        with suppress(GoneError):
            line.send((False, "its threads are busy with other tasks", False))
    comm.abort()
    return Status.dont_reply
