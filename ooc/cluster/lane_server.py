"""Serves lanes of a run: reads a lane's rows, and works off its shares. It knows no cluster."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ooc.cluster.lane_memory import check_lanes, lane_bytes
from ooc.cluster.line import Line
from ooc.cluster.messages import (
    BadRow,
    LaneWork,
    Leg,
    LegEnd,
    Legs,
    Share,
    Step,
    part_to_wire,
    sums_to_wire,
)
from ooc.cluster.open_lane import OpenLane
from ooc.cluster.step_exchange import StepAnswers, step_kernels
from ooc.core.compile_child import load_kernels
from ooc.core.errors import DataError, InputError
from ooc.core.progress import silent
from ooc.engines.kernels import engine_kernels
from ooc.engines.window_engine import row_in
from ooc.models.lane_shares import Place, share_kernels
from ooc.optim import as_method, sgd
from ooc.store.chunks import BadChunkError
from ooc.store.fingerprint import differences, fingerprint
from ooc.store.stores import told_row
from ooc.stream.plan import held_bytes


class LaneServer:
    """Serves whichever lanes it is asked for.

    A lane is opened where a message first names it, and read ahead from there. `where` names this
    process in errors; `serves` are the lanes that it serves as long as it is not told others.

    Raises
    ------
    InputError
        If the dataset cannot be seen here, is another one, or the lanes do not fit the budget.
    """

    # Whether steps are answered in compiled code, which calls no `answer`.
    compiled_steps = True

    def __init__(self, work: LaneWork, where: str, threads: int = 1, serves: int = 1) -> None:
        self._work, self._where, self._serves = work, where, serves
        self._held = held_bytes()
        if work.marks:
            self._check_data()
        methods = [as_method(each) for each in work.optimizers if each is not None]
        model, plan = work.model, work.plan
        load_kernels(
            [
                *engine_kernels(
                    model, work.dataset, methods or [as_method(sgd(1.0))],
                    plan.largest_batch, plan.order.lanes,
                ),
                *share_kernels(work.parameters.dtype),
                *step_kernels(work.parameters.dtype),
            ],
            silent,
        )  # fmt: skip
        self._parameters = work.parameters.copy()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="ooc-lane")
        # One thread works off its lanes itself.
        self._each: Callable[..., Iterable[Any]] = self._pool.map if threads > 1 else map
        self._lanes: dict[int, OpenLane] = {}
        # Of several threads each has a lane to work off.
        self._steps = (
            StepAnswers(plan.order.lanes) if threads == 1 and self.compiled_steps else None
        )

    def answer_steps(self, line: Line) -> int:
        """Answer questions about shares of windows at hand, as long as no other comes."""
        return self._steps.go_on(line, self._lanes) if self._steps is not None else 0

    def answer(self, message: Sequence[Any]) -> tuple[Any, ...]:
        """Answer a message of the client: True and the answer, or False and what is wrong.

        A message is what is asked for, what all lanes have in common, and a list of places.
        """
        asked, *given = message
        questions: dict[str, Callable[..., Any]] = {
            "keep": self._keep, "windows": self._windows, "shares": self._shares,
            "legs": self._legs, "rows": self._rows,
        }  # fmt: skip
        try:
            return True, questions[asked](*given)
        except (InputError, OSError) as error:
            return False, str(error), isinstance(error, DataError)

    def _keep(self, lanes: list[int]) -> list[int]:
        """Serve these lanes from now on; those that others serve are closed."""
        for lane in set(self._lanes) - set(lanes):
            self._lanes.pop(lane).close()
        work = self._work
        one_lane = lane_bytes(work.model, work.dataset, work.optimizers, work.plan, work.local)
        check_lanes(work.plan, max(1, len(lanes)), one_lane, self._held, self._where)
        self._serves = max(1, len(lanes))
        return lanes

    def _windows(self, places: list[tuple[int, int, int]]) -> list[tuple[Any, ...]]:
        """Read parts of windows, each of a (lane, epoch, window), and say what they have."""
        for lane, epoch, index in places:  # all of them read ahead, before one is waited for
            self._open(lane, epoch, index)
        found = [self._open(lane, *place).part(*place) for lane, *place in places]
        return [part_to_wire(each) for each in found]

    def _shares(self, step: Sequence[Any], shares: list[Any]) -> list[tuple[Any, ...]]:
        """Work off shares of a step's batch."""
        told, asked = Step._make(step), list(map(Share._make, shares))
        flat = np.frombuffer(told.parameters, self._work.parameters.dtype)
        self._parameters.reshape(-1)[:] = flat

        def work_off_one(share: Share) -> tuple[Any, ...]:
            lane = self._open(share.lane, share.epoch, share.window)
            place = Place(told.number, told.batch_size, share.before)
            return sums_to_wire(lane.work_off(share, place, told.active))

        return list(self._each(work_off_one, asked))

    def _legs(self, legs: Sequence[Any], by_lane: list[Any]) -> list[LegEnd | None]:
        """Let lanes take steps by themselves; None for one whose own parameters are not here."""
        told = Legs._make(legs)

        def take_leg(leg: Leg) -> LegEnd | None:
            return self._open(leg.lane, leg.epoch, leg.window).take_leg(told, leg)

        return list(self._each(take_leg, map(Leg._make, by_lane)))

    def _rows(self, places: list[list[int]]) -> list[BadRow]:
        """Return what rows have that cannot be used, each at a place in a share."""
        return [self._row(Share._make(share), row) for *share, row in places]

    def _row(self, asked: Share, row: int) -> BadRow:
        window = self._open(asked.lane, asked.epoch, asked.window).window(asked.epoch, asked.window)
        number = int(window.rows(window.order[asked.start + row : asked.start + row + 1])[0])
        found = row_in(window, number)
        assert found is not None, "a share's rows are in its window"
        values, target, weight = found
        told = told_row(window, number)
        return BadRow(told, np.asarray(values, np.float64).reshape(-1).tolist(), target, weight)

    def close(self) -> None:
        """End all reading."""
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()
        self._pool.shutdown(wait=False)

    def _open(self, lane: int, epoch: int, index: int) -> OpenLane:
        found = self._lanes.get(lane)
        if found is None or not found.reaches(epoch, index):
            if found is not None:
                found.close()
            place = epoch, index
            found = OpenLane(self._work, lane, self._serves, self._parameters, place)
            self._lanes[lane] = found
        return found

    def _check_data(self) -> None:
        """Refuse to read other rows than the client does."""
        dataset, marks, problem = self._work.dataset, self._work.marks, ""
        try:
            here = fingerprint(dataset, self._work.names, self._work.stream.io)
            keys = ("rows", "arrays", "attributes", "sampled_rows_sha256")
            problem = "; ".join(
                differences({key: marks[key] for key in keys}, {key: here[key] for key in keys})
            )
        except (BadChunkError, InputError, OSError, KeyError, ValueError) as error:
            problem = f"it cannot be read there: {error}"
        if problem:
            raise InputError(
                f"{self._where} does not see {dataset.path} as the client does: {problem}; put "
                "the store where every worker finds it under the same path, such as a shared file "
                "system or an object store"
            )
