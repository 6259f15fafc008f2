"""Steps over lines without the interpreter, where lines and windows are such that it goes.

A client's steps go on until its window is used up, or something else than answers comes; a worker's
answers until something else is asked for. Both are then where they would be had each step been
taken by itself, so that whoever called goes on in the plain way.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ooc.cluster import question_kernel as kernels
from ooc.cluster.answer_kernel import answer_steps
from ooc.cluster.line import Line
from ooc.cluster.line_kernels import Calls, c_functions
from ooc.cluster.member import Member
from ooc.cluster.messages import Share
from ooc.cluster.open_lane import OpenLane
from ooc.cluster.step_frames import WORD, answer_bytes, question_bytes
from ooc.cluster.traffic import Traffic
from ooc.core.compile_child import Compilation
from ooc.core.compiler import kernel_for
from ooc.kernels.counters import NOT_FINITE
from ooc.kernels.work import WORK
from ooc.models.lane_shares import Refusal
from ooc.models.loop import WindowLoop


def step_kernels(dtype: np.dtype) -> list[Compilation]:
    """Return the compilations of steps over lines, for parameters of a type."""
    one, work = np.dtype(dtype).type(1), np.zeros(1, WORK)
    table, heads = np.zeros((1, 1), np.int64), np.zeros((1, 1), np.uint8)
    numbers = table[0]
    worker = numbers, numbers, table, work, heads[0], numbers, one
    client = numbers, numbers, numbers, table, heads, table, numbers, work, one
    return [
        kernel_for(answer_steps, *worker),
        kernel_for(kernels.take_common_steps, *client),
    ]


class StepAnswers:
    """Answers the steps of a line; `lanes` is how many the run has."""

    def __init__(self, lanes: int) -> None:
        self._calls, self._template = Calls(1), np.zeros(1, WORK)
        self._lanes = np.zeros((lanes, 3), np.int64)
        self._answer, self._counted = np.zeros(0, np.uint8), np.zeros(1, np.int64)

    def go_on(self, line: Line, lanes: Mapping[int, OpenLane]) -> int:
        """Answer questions about the windows at hand until another comes; return how many."""
        self._lanes[:] = 0
        loop = None
        for number, lane in lanes.items():
            if lane.bound is not None:
                loop = lane.loop
                self._lanes[number] = loop.work.ctypes.data, *lane.bound
        if loop is None or not line.is_plain or c_functions() is None:
            return 0
        models, _, gradient = (scratch := loop.scratch["gradients"]).shape
        terms, item = loop.scratch["slot_terms"].shape[2], scratch.itemsize
        size = WORD + answer_bytes(models, len(lanes), terms, gradient * item)
        if size > len(self._answer):
            self._answer = np.zeros(size, np.uint8)
        self._counted[0] = 0
        with loop.in_one_thread():
            answer_steps(
                self._calls.numbers, line.numbers, self._lanes, self._template, self._answer,
                self._counted, loop.one,
            )  # fmt: skip
        return int(self._counted[0])


@dataclass(frozen=True)
class Taken:
    """How far a client's steps came in a window.

    Attributes
    ----------
    parts
        Parts of batches whose shares were taken.
    in_batch
        Rows of the batch at hand.
    refusal
        Why the last part's shares, or its step, cannot be used.
    share
        The one that is refused.
    """

    parts: int
    in_batch: int
    refusal: Refusal | None = None
    share: Share | None = None


class StepQuestions:
    """Takes steps with the shares of workers on lines.

    `members` serve the lanes, each of them one or more, and owe no answer; `loop` is the client's.
    """

    def __init__(self, members: Sequence[Member], lanes: int, loop: WindowLoop) -> None:
        self._members, self._loop = members, loop
        self._calls = Calls(len(members))
        addresses = [each.line.numbers.ctypes.data for each in members]
        self._lines, self._served = np.array(addresses, np.int64), np.zeros(lanes, np.int64)
        for number, member in enumerate(members):
            self._served[member.lanes] = number
        room = WORD + question_bytes(len(loop.scratch["gradients"]), lanes)
        self._heads = np.zeros((len(members), room), np.uint8)
        self._asked = np.zeros((len(members), 4), np.int64)

    def take(
        self, place: tuple[int, int], spans: np.ndarray, in_batch: int, flush: bool,
        last_step: int, traffic: Traffic,
    ) -> Taken:  # fmt: skip
        """Take steps with parts of batches, as far as nothing but answers comes.

        Parameters
        ----------
        place
            Epoch and index of the window.
        spans
            (parts + 1, lanes) int64: rows that each lane gives before a part.
        in_batch, flush, last_step
            Rows of the batch that were taken before; whether the last part ends a batch; and the
            number of steps at which to return.
        """
        numbers, loop = np.zeros(kernels.NUMBERS, np.int64), self._loop
        numbers[: kernels.LAST_STEP + 1] = *place, flush, last_step
        numbers[kernels.IN_BATCH] = in_batch
        before, status = loop.step, kernels.INTERRUPTED
        given = self._calls.numbers, self._lines, self._served, spans, self._heads, self._asked
        for member in self._members:
            member.asked = time.monotonic()
        # It returns for signals, which Python hears between two calls.
        while status == kernels.INTERRUPTED:
            status = kernels.take_common_steps(*given, numbers, loop.work, loop.one)
        for member, (*_, stands) in zip(self._members, self._asked.tolist(), strict=True):
            if status == kernels.BROKEN and stands == kernels.LEFT:
                # What it says instead, if anything, comes before what it is asked next.
                member.questions.append("shares")
            else:
                member.asked = np.inf
        traffic.sent += int(numbers[kernels.BYTES_SENT])
        traffic.received += int(numbers[kernels.BYTES_RECEIVED])
        traffic.wait_seconds += 1e-9 * float(numbers[kernels.WAITED_FOR])
        traffic.steps += loop.step - before
        parts, rows = int(numbers[kernels.TAKEN]), int(numbers[kernels.IN_BATCH])
        if status == kernels.DIVERGED:
            return Taken(parts, rows, Refusal(NOT_FINITE))
        if status == kernels.REFUSED:
            lane, why, row = numbers[kernels.LANE : kernels.ROW + 1].tolist()
            start, stop = spans[parts : parts + 2, lane].tolist()
            first = rows + int((spans[parts + 1, :lane] - spans[parts, :lane]).sum())
            return Taken(
                parts, rows, Refusal(why, lane, row), Share(lane, *place, start, stop, first)
            )
        return Taken(parts, rows)
