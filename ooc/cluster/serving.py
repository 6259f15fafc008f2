"""What runs in a Dask worker: a long task that serves lanes, and the door by which it is asked.

The door is an operation of the worker's own server, beside Dask's: nothing else listens.
"""

import asyncio
import queue
from collections.abc import Callable
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker
from distributed.comm import Comm
from distributed.core import Status

from ooc.cluster.lane_server import LaneServer
from ooc.cluster.messages import LaneWork

OPERATION = "ooc_lanes"
# How long the task waits for the client to call, and the client's call for the task to begin.
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.01

_Question = tuple[dict[str, Any], Callable[[dict[str, Any]], None]]
# By the names of runs: the questions to the task that serves one, in this process.
_DOORS: dict[str, "queue.SimpleQueue[_Question | None]"] = {}


class LanesPlugin(WorkerPlugin):
    """Gives each worker the door, those that join later, too."""

    name = "ooc-lanes"

    def setup(self, worker: Worker) -> None:
        """Add the operation to those of the worker."""
        worker.handlers[OPERATION] = converse


def serve_lanes(work: LaneWork, run: str) -> int:
    """Serve lanes until the client hangs up; return how many questions were answered.

    It is a task of Dask's, and holds one of the worker's threads meanwhile.
    """
    questions = _DOORS[run] = queue.SimpleQueue()
    server, refused, answered = None, {}, 0
    try:
        try:
            worker = get_worker()
            server = LaneServer(work, f"worker {worker.address}", worker.state.nthreads)
        except Exception as error:
            # It goes to the client by the door, as all that is said; Dask would add its traceback.
            refused = {"refused": str(error), "of_data": False}
        question = questions.get(timeout=PATIENCE_SECONDS)
        while question is not None:
            message, reply = question
            reply(server.answer(message) if server is not None else refused)
            answered += 1
            question = questions.get()
    except queue.Empty:  # the client is gone
        pass
    finally:
        _DOORS.pop(run, None)
        if server is not None:
            server.close()
    return answered


async def converse(comm: Comm, run: str) -> Status:
    """Hand the client's questions to the task, and its answers back, until one of them hangs up."""
    loop = asyncio.get_running_loop()
    questions = await _door(run)
    if questions is None:
        await comm.write({"refused": "its threads are busy with other tasks", "of_data": False})
        return Status.dont_reply
    try:
        while True:
            message = await comm.read()
            future: asyncio.Future[dict[str, Any]] = loop.create_future()

            def reply(
                answer: dict[str, Any], future: "asyncio.Future[dict[str, Any]]" = future
            ) -> None:
                loop.call_soon_threadsafe(_settle, future, answer)

            questions.put((message, reply))
            await comm.write(await future)
    except OSError:  # the client hung up
        pass
    finally:
        questions.put(None)
    return Status.dont_reply


def _settle(future: "asyncio.Future[dict[str, Any]]", answer: dict[str, Any]) -> None:
    if not future.done():
        future.set_result(answer)


async def _door(run: str) -> "queue.SimpleQueue[_Question | None] | None":
    """Return where the task of a run takes questions, once it has begun."""
    for _ in range(int(PATIENCE_SECONDS / LOOK_SECONDS)):
        if run in _DOORS:
            return _DOORS[run]
        await asyncio.sleep(LOOK_SECONDS)
    return None
