"""The workers that serve a run's lanes, as the client sees them: who is there, questions, answers.

All that waits runs on the event loop of Dask's client. A worker that does not answer any more is
gone for good; its lanes go to others, and what it was asked is asked again there.
"""

import asyncio
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
    """A worker of the crew: its address, the connection to it, and the task that serves."""

    address: str
    comm: Comm
    task: Any
    lanes: list[int] = field(default_factory=list)


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
        await self.look()

    async def end(self) -> None:
        """Hang up, by which the workers' tasks end."""
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
        self, asked: str, by_lane: Mapping[int, Any], key: str, common: Mapping[str, Any]
    ) -> dict[int, Any]:
        """Return each lane's answer: all workers are asked at once, those that are lost again.

        Parameters
        ----------
        asked
            What is asked for, see `ooc.cluster.lane_server.LaneServer`.
        by_lane
            What is asked of each lane; a worker gets those of its lanes as the list `key`.
        common
            What every worker is told beside.
        """
        answers: dict[int, Any] = {}
        while len(answers) < len(by_lane):
            await self._ensure(lane for lane in by_lane if lane not in answers)
            questions = []
            for member in self._members.values():
                lanes = [each for each in member.lanes if each in by_lane and each not in answers]
                if lanes:
                    message = {"ask": asked, key: [by_lane[lane] for lane in lanes], **common}
                    questions.append(self._told(member, message, lanes))
            for found in await all_of(questions):
                answers |= found
        return answers

    async def _told(
        self, member: Member, message: dict[str, Any], lanes: Sequence[int]
    ) -> dict[int, Any]:
        try:
            found = await self._ask(member, message)
        except GoneError:
            await self._lose(member)
            return {}
        return dict(zip(lanes, found, strict=True))

    async def _ask(self, member: Member, message: dict[str, Any]) -> Any:
        """Return a worker's answer.

        Raises
        ------
        GoneError
            If there is none any more.
        InputError, DataError
            If it refuses, in its words.
        """
        try:
            self.traffic.sent += len(message.get("parameters", b""))
            await member.comm.write(message)
            reading = asyncio.ensure_future(member.comm.read())
            try:
                while not reading.done():
                    done, _ = await asyncio.wait({reading}, timeout=QUIET_SECONDS)
                    if not done and member.address not in await self._present():
                        raise GoneError
                answer = reading.result()
            finally:
                reading.cancel()
        except (OSError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError):
                raise
            raise GoneError from None
        if "refused" in answer:
            kind = DataError if answer["of_data"] else InputError
            raise kind(answer["refused"])
        for each in answer["answer"]:
            self.traffic.received += len(each.get("gradients", b"")) if type(each) is dict else 0
        return answer["answer"]

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
        try:
            await self._ask(member, {"ask": "keep", "lanes": lanes})
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
        try:
            told = await self._client.scheduler.identity(n_workers=-1)
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
        return str(self._client.scheduler.address if self._client.scheduler else "the cluster")


async def all_of(questions: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Return all answers; an error is raised when nobody is being asked any more.

    A refusal comes before a worker that is gone: it would be refused again.
    """
    found = await asyncio.gather(*questions, return_exceptions=True)
    errors = [each for each in found if isinstance(each, BaseException)]
    if errors:
        raise min(errors, key=lambda error: isinstance(error, GoneError))
    return found
