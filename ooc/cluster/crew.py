"""The workers that serve a run's lanes, as the client sees them: who is there, questions, answers.

All that waits runs on the event loop of Dask's client. A worker that does not answer any more is
gone for good; its lanes go to others, and what it was asked is asked again there.
"""

import asyncio
import math
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distributed import Client
from distributed.comm import Comm, connect

from ooc.cluster.messages import LaneWork
from ooc.cluster.placement import place_lanes
from ooc.cluster.serving import OPERATION, LanesPlugin, serve_lanes
from ooc.core.errors import DataError, InputError

# How often the scheduler is asked who is there, and how long a run waits where nobody is.
LOOK_SECONDS, PATIENCE_FOR_WORKERS = 1.0, 60.0
# How long an answer may take before the scheduler is asked whether the worker is alive.
QUIET_SECONDS = 15.0


@dataclass
class Traffic:
    """What went over the wire, and how often lanes moved.

    Attributes
    ----------
    sent, received
        Bytes of parameters to workers, and of gradients from them.
    wait_seconds
        How long the client waited for answers.
    steps, workers
        Steps taken, and the most workers that served at once.
    moves, lost
        Lanes that went to another worker, and workers that were lost.
    """

    sent: int = 0
    received: int = 0
    wait_seconds: float = 0.0
    steps: int = 0
    workers: int = 0
    moves: int = 0
    lost: int = 0


@dataclass
class Member:
    """A worker of the crew: its address, the connection to it, and the task that serves.

    `asked` is when it was asked what it has not answered, by `time.monotonic`.
    """

    address: str
    comm: Comm
    task: Any
    lanes: list[int] = field(default_factory=list)
    asked: float = math.inf


class GoneError(Exception):
    """A worker does not answer any more."""


class Crew:
    """The workers that serve the lanes of one run.

    Parameters
    ----------
    client
        Of Dask, connected; it is the user's, and stays open.
    work
        What the lanes are of.
    """

    def __init__(self, client: Client, work: LaneWork) -> None:
        self.traffic = Traffic()
        self._client, self._work = client, work
        self._run = f"{work.dataset.name}-{uuid.uuid4().hex[:8]}"
        self._members: dict[str, Member] = {}
        self._placed: dict[int, str] = {}
        self._looked = -LOOK_SECONDS
        self._watching: asyncio.Future[None] | None = None

    @property
    def workers(self) -> tuple[str, ...]:
        """Addresses of those that serve now."""
        return tuple(self._members)

    @property
    def lanes(self) -> int:
        """Lanes of the run."""
        return self._work.plan.order.lanes

    async def begin(self) -> None:
        """Give every worker the door, and share out the lanes."""
        await self._client.register_plugin(LanesPlugin())
        self._watching = asyncio.ensure_future(self._watch())
        await self.look()

    async def end(self) -> None:
        """Hang up, by which the workers' tasks end."""
        if self._watching is not None:
            self._watching.cancel()
        for member in self._members.values():
            await member.comm.close()
        tasks = [member.task for member in self._members.values()]
        self._members.clear()
        self._placed.clear()
        for task in tasks:
            task.release()

    async def look(self) -> None:
        """See who is there now, at most once in a while, and share out the lanes among them."""
        if time.monotonic() - self._looked < LOOK_SECONDS and self._placed:
            return
        threads = await self._present()
        began = time.monotonic()
        while not threads:
            if time.monotonic() - began > PATIENCE_FOR_WORKERS:
                raise DataError(
                    f"no worker of {self._where} is left that could serve the {self.lanes} lanes, "
                    f"and none came within {PATIENCE_FOR_WORKERS:g} seconds; start workers, and "
                    "resume the run"
                )
            await asyncio.sleep(0.2)
            threads = await self._present()
        self._looked = time.monotonic()
        await self._share_out(threads)

    async def ask_lanes(
        self, asked_for: str, by_lane: Mapping[int, Any], key: str, common: Mapping[str, Any]
    ) -> dict[int, Any]:
        """Return each lane's answer: all workers are asked at once, those that are lost again.

        Parameters
        ----------
        asked_for
            What is asked for, see `ooc.cluster.lane_server.LaneServer`.
        by_lane
            What is asked of each lane; a worker gets those of its lanes as the list `key`.
        common
            What every worker is told beside.
        """
        answers: dict[int, Any] = {}
        while len(answers) < len(by_lane):
            await self._ensure(lane for lane in by_lane if lane not in answers)
            asked: list[tuple[Member, list[int]]] = []
            for member in list(self._members.values()):
                lanes = [each for each in member.lanes if each in by_lane and each not in answers]
                message = {"ask": asked_for, key: [by_lane[lane] for lane in lanes], **common}
                if lanes and await self._tell(member, message):
                    asked.append((member, lanes))
            # All are heard before anything is raised: an answer that is left would be the next's.
            refusals: list[InputError] = []
            for member, lanes in asked:
                try:
                    answers |= zip(lanes, await self._hear(member), strict=True)
                except GoneError:
                    await self._lose(member)
                except InputError as error:
                    refusals.append(error)
            if refusals:
                raise refusals[0]
        return answers

    async def _tell(self, member: Member, message: dict[str, Any]) -> bool:
        """Ask a worker; tell whether it can still be asked."""
        self.traffic.sent += len(message.get("parameters", b""))
        try:
            await member.comm.write(message)
        except OSError:
            await self._lose(member)
            return False
        member.asked = time.monotonic()
        return True

    async def _hear(self, member: Member) -> Any:
        """Return a worker's answer.

        Raises
        ------
        GoneError
            If there is none any more.
        InputError, DataError
            If it refuses, in its words.
        """
        try:
            answer = await member.comm.read()
        except OSError:
            raise GoneError from None
        finally:
            member.asked = math.inf
        if "refused" in answer:
            kind = DataError if answer["of_data"] else InputError
            raise kind(answer["refused"])
        for each in answer["answer"]:
            self.traffic.received += len(each.get("gradients", b"")) if type(each) is dict else 0
        return answer["answer"]

    async def _watch(self) -> None:
        """Hang up on workers that are asked, and that the scheduler does not know any more."""
        while True:
            await asyncio.sleep(QUIET_SECONDS)
            quiet = time.monotonic() - QUIET_SECONDS
            if any(each.asked < quiet for each in self._members.values()):
                present = await self._present()
                for member in self._members.values():
                    if member.asked < quiet and member.address not in present:
                        member.comm.abort()

    async def _ensure(self, lanes: Any) -> None:
        """Share out lanes that nobody serves."""
        while any(lane not in self._placed for lane in lanes):
            self._looked = -LOOK_SECONDS
            await self.look()

    async def _lose(self, member: Member) -> None:
        self.traffic.lost += 1
        member.comm.abort()
        member.task.release()
        self._members.pop(member.address, None)
        for lane in member.lanes:
            self._placed.pop(lane, None)

    async def _share_out(self, threads: Mapping[str, int]) -> None:
        """Place the lanes, and tell every worker which are its own."""
        for address in [each for each in self._members if each not in threads]:
            await self._lose(self._members[address])
        placed = place_lanes(self.lanes, threads, self._placed)
        serving: dict[str, list[int]] = {}
        for lane, address in placed.items():
            serving.setdefault(address, []).append(lane)
        joined = [address for address in serving if address not in self._members]
        try:
            await all_of([self._join(address) for address in joined])
            changed = [
                (self._members[address], lanes)
                for address, lanes in serving.items()
                if self._members[address].lanes != lanes
            ]
            await all_of([self._give(member, lanes) for member, lanes in changed])
        except GoneError:  # it went as it came: those that are left will do
            return
        for address in [each for each in self._members if each not in serving]:
            await self._dismiss(self._members[address])
        self._placed = placed
        self.traffic.workers = max(self.traffic.workers, len(self._members))

    async def _join(self, address: str) -> None:
        """Start the task on a worker, and connect to it."""
        name = address.rpartition("//")[2]
        task = self._client.submit(
            serve_lanes, self._work, self._run, key=f"ooc-lanes-{self._run}-{name}",
            workers=[address], allow_other_workers=False, pure=False, priority=1,
        )  # fmt: skip
        try:
            comm = await connect(address, **self._client.connection_args)
            await comm.write({"op": OPERATION, "run": self._run, "reply": False})
        except OSError:
            task.release()
            raise GoneError from None
        self._members[address] = Member(address, comm, task)

    async def _give(self, member: Member, lanes: list[int]) -> None:
        moved = [lane for lane in lanes if self._placed.get(lane, member.address) != member.address]
        self.traffic.moves += len(moved)
        if not await self._tell(member, {"ask": "keep", "lanes": lanes}):
            raise GoneError
        try:
            await self._hear(member)
        except GoneError:
            await self._lose(member)
            raise
        member.lanes = lanes

    async def _dismiss(self, member: Member) -> None:
        await member.comm.close()
        member.task.release()
        self._members.pop(member.address, None)

    async def _present(self) -> dict[str, int]:
        """Return the threads of every worker that the scheduler knows."""
        scheduler = self._client.scheduler
        assert scheduler is not None, "a client that runs has a scheduler"
        try:
            told = await scheduler.identity(n_workers=-1)
        except OSError:
            raise DataError(
                f"the scheduler at {self._where} does not answer any more; start it and its "
                "workers again, and resume the run"
            ) from None
        return {
            address: int(worker["nthreads"])
            for address, worker in told["workers"].items()
            if worker["status"] == "running"
            or (worker["status"] == "paused" and address in self._members)
        }

    @property
    def _where(self) -> str:
        scheduler = self._client.scheduler
        return "the cluster" if scheduler is None else str(scheduler.address)


async def all_of(questions: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Return all answers; an error is raised when nobody is being asked any more.

    A refusal comes before a worker that is gone: it would be refused again.
    """
    found = await asyncio.gather(*questions, return_exceptions=True)
    errors = [each for each in found if isinstance(each, BaseException)]
    if errors:
        raise min(errors, key=lambda error: isinstance(error, GoneError))
    return found
