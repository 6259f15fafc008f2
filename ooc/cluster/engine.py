"""The engine of a run whose lanes are served by workers, and the windows that it is given."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from distributed import Client

from ooc.cluster.crew import Crew
from ooc.cluster.line import check_lines
from ooc.cluster.line_kernels import c_functions
from ooc.cluster.local_steps import LocalStepsEngine
from ooc.cluster.messages import LaneWork, Share, Step, from_anywhere, sums_from_wire
from ooc.cluster.refusals import check_served, diverged, refused
from ooc.cluster.step_exchange import StepQuestions, step_kernels
from ooc.cluster.windows import RemoteReader, RemoteWindow
from ooc.core.compile_child import load_kernels
from ooc.core.errors import InputError
from ooc.core.progress import silent
from ooc.core.random_keys import Purpose, prefix
from ooc.engines.forwarding import forwarded
from ooc.engines.synchronisation import Synchronisation
from ooc.kernels.counters import NEVER
from ooc.models.contract import Model
from ooc.models.lane_shares import end_step, share_kernels, take_shares
from ooc.models.loop import make_loop
from ooc.models.train_state import TrainState
from ooc.optim import Method
from ooc.store.dataset import Dataset
from ooc.stream.lanes import rows_before
from ooc.stream.loader import Loader
from ooc.stream.window import Window


class ClusterEngine:
    """Takes steps with gradients of lanes that workers serve; see `ooc.engines.engine.Engine`.

    `backups` are lanes that a step does not wait for. What complete batches lost by them is in
    ``dropped``, gradients by lane, ``dropped_of``, rows by lane, and ``dropped_rows``, all rows.
    """

    ended = False
    step, rows = forwarded("_loop.step"), forwarded("_loop.rows")
    batch_size = forwarded("_loop.batch_size")

    def __init__(
        self, crew: Crew, model: Model, loader: Loader, train_state: TrainState, backups: int = 0
    ) -> None:
        self.train_state, self.model, plan = train_state, model, loader.plan
        self.serving, self._backups = crew, backups
        self._loop = make_loop(
            model, loader.dataset, train_state, plan.batch_size, plan.largest_batch,
            lanes=plan.order.lanes,
        )  # fmt: skip
        self._loop.begin(loader.step, prefix(plan.order.seed, Purpose.BATCH))
        self.window: Window | None = None
        # The place in the window, and rows of the batch at hand, dropped ones included.
        self._place = self._in_batch = 0
        self.dropped, self.dropped_of = [0] * crew.lanes, [0] * crew.lanes
        self.dropped_rows = 0
        # Lanes and rows that the batch at hand has lost: a run that is saved before the batch is
        # complete takes all of it again, and may lose others.
        self._lost: list[tuple[int, int]] = []

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Take the steps that a window completes; see `ooc.engines.engine.Engine`."""
        assert isinstance(window, RemoteWindow), "its rows are with the workers"
        if window is not self.window:
            self.window, self._place = window, window.start
        loop, total = self._loop, sum(window.lane_rows)
        loop.bind_batch()
        while loop.step < last_step:
            self._take_at_once(window, last_step)
            left = total - self._place
            if loop.step == last_step or (left == 0 and not (window.last and self._in_batch)):
                break
            available = min(left, loop.batch_size - self._in_batch)
            if available:
                self._take(window, available)
                self._place += available
                self._in_batch += available
            if self._in_batch == loop.batch_size or (window.last and available == left):
                if end_step(loop) is not None:
                    raise diverged(self)
                self._in_batch = 0
                self._count_lost()
                self.serving.traffic.steps += 1
        return self._place == total

    def deal_again(self) -> None:
        """Let lanes that lost most be served by workers that are not late."""
        self.serving.deal_again(self.dropped_of)

    def results(self) -> dict[str, Any]:
        """Return what a run's results tell of the cluster."""
        told = {"lanes": self.serving.lanes, **self.serving.traffic.results()}
        if self._backups:
            told |= {
                "backup_lanes": self._backups,
                "dropped_gradients": list(self.dropped),
                "dropped_rows": self.dropped_rows,
            }
        return told

    def state(self, number: int) -> dict[str, Any]:
        """Return what lanes have lost, where they may lose any."""
        if not self._backups:
            return {}
        return {"dropped": list(self.dropped), "dropped_of": list(self.dropped_of)}

    def restore(self, number: int, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.dropped = [int(count) for count in state["dropped"]]
        self.dropped_of = [int(rows) for rows in state["dropped_of"]]
        self.dropped_rows = sum(self.dropped_of)

    def _count_lost(self) -> None:
        """Count what the batch that is complete now has lost."""
        for lane, rows in self._lost:
            self.dropped[lane] += 1
            self.dropped_of[lane] += rows
            self.dropped_rows += rows
        self._lost.clear()

    def _take_at_once(self, window: RemoteWindow, last_step: int) -> None:
        """Take the steps that go without the interpreter, as far as nothing else comes."""
        total, size = sum(window.lane_rows), self._loop.batch_size
        members = [] if self._backups or c_functions() is None else self.serving.on_plain_lines()
        if not members or self._place == total:
            return
        ends = range(self._place + size - self._in_batch, total, size)
        bounds = [self._place, *ends, total]
        spans = np.array([rows_before(window.lane_rows, each) for each in bounds], np.int64)
        questions = StepQuestions(members, self.serving.lanes, self._loop)
        taken = questions.take(
            (window.epoch, window.index), spans, self._in_batch, window.last, last_step,
            self.serving.traffic,
        )  # fmt: skip
        self._place, self._in_batch = bounds[taken.parts], taken.in_batch
        if taken.refusal is not None:
            raise refused(self, taken.refusal, taken.share)

    def _take(self, window: RemoteWindow, count: int) -> None:
        """Take the gradients over the next rows of a window."""
        spans = zip(
            rows_before(window.lane_rows, self._place),
            rows_before(window.lane_rows, self._place + count),
            strict=True,
        )
        shares, before = dict[int, Share](), self._in_batch
        for lane, (start, stop) in enumerate(spans):
            if stop > start:
                shares[lane] = Share(lane, window.epoch, window.index, start, stop, before)
                before += stop - start
        state, begun = self.train_state, time.perf_counter()
        active, parameters = state.active.tolist(), state.parameters.tobytes()
        step = Step(self.step, self.batch_size, active, parameters)
        if self._backups:
            needed = max(1, len(shares) - self._backups)
            found = self.serving.ask_first(needed, "shares", shares, step)
        else:
            found = self.serving.ask_lanes("shares", shares, step)
        self.serving.traffic.wait_seconds += time.perf_counter() - begun
        lost = shares.keys() - found.keys()
        self._lost += [(lane, shares[lane].stop - shares[lane].start) for lane in lost]
        taken = [share for lane, share in shares.items() if lane in found]
        sums = [sums_from_wire(found[share.lane], state.parameters) for share in taken]
        refusal = take_shares(self._loop, sums)
        if refusal is not None:
            raise refused(self, refusal, taken[refusal.share] if refusal.row >= 0 else None)


def check_cluster(
    client: Any, model: Model, dataset: Dataset, methods: list[Method], batch: int, lanes: int
) -> None:
    """Refuse what cannot be shared out over a cluster, before any work.

    Raises
    ------
    InputError
        That says what to do instead.
    """
    if not isinstance(client, Client):
        raise InputError(
            f"client is a dask.distributed.Client, not {type(client).__name__}; connect one with "
            'Client("tcp://scheduler:8786")'
        )
    if client.asynchronous:
        raise InputError("the client is asynchronous, and training is not; connect another one")
    if client.status != "running":
        raise InputError(f"the client is {client.status}; connect it to a scheduler first")
    check_lines(list(client.scheduler_info()["workers"]))
    check_served("a cluster", model, dataset, methods, batch, lanes)


@contextmanager
def lanes_on(
    client: Client,
    model: Model,
    loader: Loader,
    train_state: TrainState,
    work: LaneWork,
    how: Synchronisation,
) -> Iterator[ClusterEngine | LocalStepsEngine]:
    """Have workers serve a run's lanes, and read its windows; they are let go at the end."""
    crew = Crew(client, replace(work, dataset=from_anywhere(work.dataset)))
    engine: ClusterEngine | LocalStepsEngine
    if how.local_steps > 1:
        engine = LocalStepsEngine(crew, model, loader, train_state, how)
    else:
        dtype = train_state.parameters.dtype
        load_kernels([*share_kernels(dtype), *step_kernels(dtype)], silent)
        engine = ClusterEngine(crew, model, loader, train_state, how.backup_lanes)
    begin = engine.deal_again if isinstance(engine, ClusterEngine) and how.backup_lanes else None
    loader.open_reader = lambda: RemoteReader(crew, loader, begin)
    try:
        crew.begin()
        yield engine
    finally:
        loader.open_reader = None
        crew.end()
