"""The workers that serve a run's lanes, as the client sees them: who is there, questions, answers.

Who is there is asked on the event loop of Dask's client; questions are put, and answers read, by
the thread that trains. A worker that does not answer any more is gone for good; its lanes go to
others, and what it was asked is asked again there.
"""

import asyncio
import math
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from distributed import Client
from distributed.comm import connect

from ooc.cluster.line import GoneError, Line, check_lines, with_messages
from ooc.cluster.member import Member
from ooc.cluster.messages import LaneWork
from ooc.cluster.placement import place_lanes, swap_lanes
from ooc.cluster.serving import OPERATION, PATIENCE_SECONDS, LanesPlugin, serve_lanes
from ooc.cluster.traffic import Traffic
from ooc.core.errors import InputError, LostError

# How often the scheduler is asked who is there, and how long a run waits where nobody is.
LOOK_SECONDS, PATIENCE_FOR_WORKERS = 1.0, 60.0
# How often the door is given to all workers, where one of them dies meanwhile.
MOST_BEGINNINGS = 5
# How long an answer may take before the scheduler is asked whether the worker is alive.
QUIET_SECONDS = 15.0
# How often a worker is called that takes no call.
MOST_CALLS = 3
# How often a question is asked of workers that are lost over it, one after the other.
MOST_IN_VAIN = 8
# How long workers may take to be let go.
LEAVE_SECONDS = 30.0


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
        self._missed: dict[str, int] = {}
        self._looked = -LOOK_SECONDS
        # Steps since lanes were last dealt out.
        self._steps = 0
        self._watching: asyncio.Future[None] | None = None

    @property
    def workers(self) -> tuple[str, ...]:
        """Addresses of those that serve now."""
        return tuple(self._members)

    @property
    def lanes(self) -> int:
        """Lanes of the run."""
        return self._work.plan.order.lanes

    def begin(self) -> None:
        """Give every worker the door, and share out the lanes."""
        self._client.sync(self._begin)
        self.look()

    async def _begin(self) -> None:
        for left in reversed(range(MOST_BEGINNINGS)):
            try:
                await self._client.register_plugin(LanesPlugin())
                break
            except OSError:  # a worker died as it was given the door
                if left == 0:
                    raise
                await asyncio.sleep(LOOK_SECONDS)
        self._watching = asyncio.ensure_future(self._watch())

    def end(self) -> None:
        """Hang up, by which the workers' tasks end."""
        for member in self._members.values():
            member.line.close()
        # Where the cluster is gone, there is nobody to be let go.
        with suppress(OSError, TimeoutError):
            self._client.sync(self._end, callback_timeout=LEAVE_SECONDS)
        self._members.clear()
        self._placed.clear()

    async def _end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        for member in self._members.values():
            member.line.end()
            member.task.release()

    def look(self) -> None:
        """See who is there now, at most once in a while, and share out the lanes among them."""
        if time.monotonic() - self._looked < LOOK_SECONDS and self._placed:
            return
        threads, began = self._client.sync(self._present), time.monotonic()
        while not threads:
            if time.monotonic() - began > PATIENCE_FOR_WORKERS:
                raise LostError(
                    f"no worker of {self._where} is left that could serve the {self.lanes} lanes, "
                    f"and none came within {PATIENCE_FOR_WORKERS:g} seconds; start workers, and "
                    "resume the run"
                )
            time.sleep(0.2)
            threads = self._client.sync(self._present)
        self._looked = time.monotonic()
        self._share_out(threads)

    def ask_lanes(self, asked_for: str, by_lane: Mapping[int, Any], *common: Any) -> dict[int, Any]:
        """Return each lane's answer: all workers are asked at once, those that are lost again.

        Parameters
        ----------
        asked_for
            What is asked for, see `ooc.cluster.lane_server.LaneServer`.
        by_lane
            What is asked of each lane; a worker gets those of its lanes as a list.
        common
            What every worker is told beside.
        """
        answers, in_vain = dict[int, Any](), 0
        while len(answers) < len(by_lane):
            self._check_answered(in_vain, asked_for)
            before = len(answers)
            left = {lane: asked for lane, asked in by_lane.items() if lane not in answers}
            self._ensure(left)
            asked = [
                (member, lanes)
                for member in list(self._members.values())
                if (lanes := self._tell(member, asked_for, left, common))
            ]
            # All are heard before anything is raised: an answer that is left would be the next's.
            refusals: list[InputError] = []
            for member, lanes in asked:
                try:
                    answers |= zip(lanes, member.hear(), strict=True)
                except GoneError:
                    self._lose(member)
                except InputError as error:
                    refusals.append(error)
            if refusals:
                raise refusals[0]
            in_vain = in_vain + 1 if len(answers) == before else 0
        return answers

    def ask_first(
        self, needed: int, asked_for: str, by_lane: Mapping[int, Any], *common: Any
    ) -> dict[int, Any]:
        """Return the answers of the first lanes, so many or all that came with them.

        A worker that is late is left to its work, and asked again when it is done with it: what it
        answers then is not used.
        """
        answers, in_vain = dict[int, Any](), 0
        asked: dict[str, list[int]] = {}
        while len(answers) < needed:
            self._check_answered(in_vain, asked_for)
            before, lost = len(answers), self.traffic.lost
            self._ensure(by_lane)
            left = {lane: each for lane, each in by_lane.items() if lane not in answers}
            for member in list(self._members.values()):
                # Lanes of one that is lost come to those that have answered, too.
                if not member.is_busy:
                    asked[member.address] = self._tell(member, asked_for, left, common)
            self._receive_first(asked, answers, 1.0)
            # One that is late is not lost.
            in_vain = in_vain + (self.traffic.lost > lost) if len(answers) == before else 0
        self._receive_first(asked, answers, 0.0)
        for member in self._members.values():
            member.late += member.is_busy
        self._steps += 1
        return dict(sorted(answers.items()))

    def on_plain_lines(self) -> list[Member]:
        """Return who serves all lanes, if each has a socket without TLS, and owes no answer.

        Otherwise nobody.
        """
        members = list(self._members.values())
        if len(self._placed) < self.lanes:
            return []
        return members if all(e.line.is_plain and not e.questions for e in members) else []

    def _receive_first(
        self, asked: dict[str, list[int]], answers: dict[int, Any], seconds: float
    ) -> None:
        """Take the answers that are there, or come first, of the lanes that were asked about."""
        waiting = {each.line: each for each in self._members.values() if each.questions}
        for line in with_messages(list(waiting), seconds):
            member = waiting[line]
            try:
                answer = member.receive()
            except GoneError:
                self._lose(member)
                continue
            # What is left to be answered comes after an answer that is too late.
            lanes = [] if member.questions else asked.pop(member.address, [])
            answers |= zip(lanes, answer if lanes else [], strict=True)

    def deal_again(self, dropped: Sequence[int]) -> None:
        """Give lanes that lost most to workers that are not late, see `swap_lanes`.

        `dropped` are the rows that each lane has lost.
        """
        late = {each.address for each in self._members.values() if 2 * each.late > self._steps}
        placed = swap_lanes(self._placed, dropped, late)
        for member in list(self._members.values()):
            member.late = 0
            lanes = [lane for lane, address in placed.items() if address == member.address]
            if lanes != member.lanes:
                self.traffic.moves += len(set(lanes) - set(member.lanes))
                try:
                    # Its answer comes before that to the next question, and is not waited for.
                    member.tell(("keep", lanes))
                    member.lanes = lanes
                except GoneError:
                    self._lose(member)
        self._steps, self._placed = (
            0,
            {lane: member.address for member in self._members.values() for lane in member.lanes},
        )

    def _tell(
        self, member: Member, asked_for: str, by_lane: Mapping[int, Any], common: tuple[Any, ...]
    ) -> list[int]:
        """Ask a worker about its lanes; return those that it was asked about."""
        lanes = [each for each in member.lanes if each in by_lane]
        try:
            if lanes:
                member.tell((asked_for, *common, [by_lane[lane] for lane in lanes]))
        except GoneError:
            self._lose(member)
            return []
        return lanes

    def _check_answered(self, in_vain: int, asked_for: str) -> None:
        """End where what is asked is what ends the workers, or their machines."""
        if in_vain == MOST_IN_VAIN:
            raise LostError(
                f"workers of {self._where} were lost {MOST_IN_VAIN} times in a row over what they "
                f"were asked ({asked_for}), and none answered; look into their logs, and resume "
                "the run"
            )

    async def _watch(self) -> None:
        """Hang up on workers that are asked, and that the scheduler does not know any more."""
        while True:
            await asyncio.sleep(QUIET_SECONDS)
            quiet = time.monotonic() - QUIET_SECONDS
            if any(each.asked < quiet for each in tuple(self._members.values())):
                present = await self._present()
                for member in tuple(self._members.values()):
                    if member.asked < quiet and member.address not in present:
                        member.line.close()

    def _ensure(self, lanes: Iterable[int]) -> None:
        """Share out lanes that nobody serves."""
        while any(lane not in self._placed for lane in lanes):
            self._looked = -LOOK_SECONDS
            self.look()
            self._check_reached()

    def _check_reached(self) -> None:
        """End where nobody serves, and workers that the scheduler knows take no calls."""
        missed = [address for address, calls in self._missed.items() if calls >= MOST_CALLS]
        if missed and not self._members:
            raise LostError(
                f"{self._where} has workers, and none can be reached from here: {missed[0]} took "
                f"no call {MOST_CALLS} times; a run talks to its workers themselves: start it "
                "where their ports can be reached, such as on the cluster's own network"
            )

    def _lose(self, member: Member) -> None:
        self.traffic.lost += 1
        self._dismiss(member)
        for lane in member.lanes:
            self._placed.pop(lane, None)

    def _dismiss(self, member: Member) -> None:
        """Hang up, by which the worker's task ends."""
        self._members.pop(member.address, None)
        loop = self._client.loop
        assert loop is not None, "a client that runs has a loop"
        loop.add_callback(member.line.end)
        loop.add_callback(member.task.release)

    def _share_out(self, threads: Mapping[str, int]) -> None:
        """Place the lanes, and tell every worker which are its own."""
        for address in [each for each in self._members if each not in threads]:
            self._lose(self._members[address])
        placed = place_lanes(self.lanes, threads, self._placed)
        serving: dict[str, list[int]] = {}
        for lane, address in placed.items():
            serving.setdefault(address, []).append(lane)
        joined = [address for address in serving if address not in self._members]
        check_lines(joined)
        if not self._join(joined):  # one went as it came: those that are left will do
            return
        changed = [
            self._members[address]
            for address, lanes in serving.items()
            if self._members[address].lanes != lanes
        ]
        if not self._give(changed, serving):
            return
        for address in [each for each in self._members if each not in serving]:
            self._dismiss(self._members[address])
        self._placed = placed
        self.traffic.workers = max(self.traffic.workers, len(self._members))

    def _join(self, addresses: list[str]) -> bool:
        """Start the task on each worker, and take a line to it; tell whether all are there."""
        found = self._client.sync(self._call_all, addresses)
        self._members |= {each.address: each for each in found}
        return self._hear_all(found, PATIENCE_SECONDS + QUIET_SECONDS) and (
            len(found) == len(addresses)
        )

    async def _call_all(self, addresses: list[str]) -> list[Member]:
        found = await asyncio.gather(*map(self._call, addresses))
        return [each for each in found if each is not None]

    async def _call(self, address: str) -> Member | None:
        name = address.rpartition("//")[2]
        task = self._client.submit(
            serve_lanes, self._work, self._run, key=f"ooc-lanes-{self._run}-{name}",
            workers=[address], allow_other_workers=False, pure=False, priority=1,
        )  # fmt: skip
        try:
            comm = await connect(address, **self._client.connection_args)
            await comm.write({"op": OPERATION, "run": self._run, "reply": False})
            return Member(address, Line(comm), task, self.traffic)
        except OSError:
            self._missed[address] = self._missed.get(address, 0) + 1
            task.release()
            return None

    def _give(self, members: list[Member], serving: Mapping[str, list[int]]) -> bool:
        """Tell workers which lanes are theirs now; tell whether all have heard it."""
        told = []
        for member in members:
            lanes, address = serving[member.address], member.address
            self.traffic.moves += sum(self._placed.get(lane, address) != address for lane in lanes)
            try:
                member.tell(("keep", lanes))
            except GoneError:
                self._lose(member)
                continue
            member.lanes = lanes
            told.append(member)
        return self._hear_all(told) and len(told) == len(members)

    def _hear_all(self, members: list[Member], patience: float = math.inf) -> bool:
        """Hear what workers answer, those that are gone are lost; tell whether all are there."""
        refusals, gone = list[InputError](), 0
        for member in members:
            try:
                member.hear(patience)
            except GoneError:
                self._lose(member)
                gone += 1
            except InputError as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]
        return gone == 0

    async def _present(self) -> dict[str, int]:
        """Return the threads of every worker that the scheduler knows."""
        scheduler = self._client.scheduler
        try:
            if scheduler is None:
                raise OSError
            told = await scheduler.identity(n_workers=-1)
        except OSError:
            raise LostError(
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
