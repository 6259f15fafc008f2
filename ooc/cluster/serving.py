"""What runs in a Dask worker: a long task that serves lanes, and the door by which it is asked.

The door is an operation of the worker's own server, beside Dask's: nothing else listens.
"""

import asyncio
import math
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker
from distributed.comm import Comm
from distributed.core import Status

from ooc.cluster.lane_server import LaneServer
from ooc.cluster.messages import LaneWork
from ooc.core.process import share_heaps

OPERATION = "ooc_lanes"
# How long the task waits for the client to call, and the client's call for the task to begin.
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.01

# A share that takes no longer is worked off where it is asked for: to hand it to the task's thread
# and back costs more than many a share does.
SHORT_SECONDS = 0.005

_Question = tuple[dict[str, Any], Callable[[dict[str, Any]], None]]


@dataclass
class Door:
    """Where the task of a run takes questions.

    Attributes
    ----------
    questions
        Those to the task's thread; None where the client hung up.
    server
        Who answers, once it is there.
    seconds
        How long the last share took.
    """

    questions: "queue.SimpleQueue[_Question | None]" = field(default_factory=queue.SimpleQueue)
    server: LaneServer | None = None
    seconds: float = math.inf

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer, and note how long a share takes."""
        assert self.server is not None, "questions are asked when it is there"
        begun, is_share = time.perf_counter(), message["ask"] == "shares"
        answer = self.server.answer(message)
        if is_share:
            self.seconds = time.perf_counter() - begun
        return answer

    def is_short(self, message: dict[str, Any]) -> bool:
        """Tell whether a message is answered in no time: nothing of it waits for the disk."""
        if message["ask"] != "shares" or self.server is None or self.seconds > SHORT_SECONDS:
            return False
        return self.server.is_ready(message["shares"])


# By the names of runs, in this process.
_DOORS: dict[str, Door] = {}


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
    # Dask's nannies have freed memory given back at once: each chunk's would fault in anew.
    share_heaps()
    door = _DOORS[run] = Door()
    refused, answered = dict[str, Any](), 0
    try:
        try:
            worker = get_worker()
            door.server = LaneServer(work, f"worker {worker.address}", worker.state.nthreads)
        except Exception as error:
            # It goes to the client by the door, as all that is said; Dask would add its traceback.
            refused = {"refused": str(error), "of_data": False}
        question = door.questions.get(timeout=PATIENCE_SECONDS)
        while question is not None:
            message, reply = question
            reply(refused or door.answer(message))
            answered += 1
            question = door.questions.get()
    except queue.Empty:  # the client is gone
        pass
    finally:
        _DOORS.pop(run, None)
        if door.server is not None:
            door.server.close()
    return answered


async def converse(comm: Comm, run: str) -> Status:
    """Hand the client's questions to the task, and its answers back, until one of them hangs up."""
    loop = asyncio.get_running_loop()
    door = await _door(run)
    if door is None:
        await comm.write({"refused": "its threads are busy with other tasks", "of_data": False})
        return Status.dont_reply
    try:
        while True:
            message = await comm.read()
            if door.is_short(message):
                await comm.write(door.answer(message))
                continue
            future: asyncio.Future[dict[str, Any]] = loop.create_future()

            def reply(
                answer: dict[str, Any], future: "asyncio.Future[dict[str, Any]]" = future
            ) -> None:
                loop.call_soon_threadsafe(_settle, future, answer)

            door.questions.put((message, reply))
            await comm.write(await future)
    except OSError:  # the client hung up
        pass
    finally:
        door.questions.put(None)
    return Status.dont_reply


def _settle(future: "asyncio.Future[dict[str, Any]]", answer: dict[str, Any]) -> None:
    if not future.done():
        future.set_result(answer)


async def _door(run: str) -> Door | None:
    """Return where the task of a run takes questions, once it has begun."""
    for _ in range(int(PATIENCE_SECONDS / LOOK_SECONDS)):
        if run in _DOORS:
            return _DOORS[run]
        await asyncio.sleep(LOOK_SECONDS)
    return None
