"""The engine of a run whose lanes are served by workers, and the windows that it is given."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client

from ooc.cluster.crew import Crew
from ooc.cluster.local_steps import LocalStepsEngine
from ooc.cluster.messages import LaneWork, Share, Step, sums_from_wire
from ooc.cluster.refusals import check_served, diverged, refused
from ooc.cluster.windows import RemoteReader, RemoteWindow
from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, prefix
from ooc.engines.forwarding import forwarded
from ooc.engines.synchronisation import Synchronisation
from ooc.kernels.counters import NEVER
from ooc.models.contract import Model
from ooc.models.lane_shares import end_step, take_shares
from ooc.models.loop import make_loop
from ooc.models.train_state import TrainState
from ooc.optim import Method
from ooc.store.dataset import Dataset
from ooc.stream.lanes import rows_before
from ooc.stream.loader import Loader
from ooc.stream.window import Window


class ClusterEngine:
    """Takes steps with gradients of lanes that workers serve; see `ooc.engines.engine.Engine`."""

    ended = False
    step, rows = forwarded("_loop.step"), forwarded("_loop.rows")
    batch_size = forwarded("_loop.batch_size")

    def __init__(self, crew: Crew, model: Model, loader: Loader, train_state: TrainState) -> None:
        self.train_state, self.model, plan = train_state, model, loader.plan
        self.serving = crew
        self._loop = make_loop(
            model, loader.dataset, train_state, plan.batch_size, plan.largest_batch,
            lanes=plan.order.lanes,
        )  # fmt: skip
        self._loop.begin(loader.step, prefix(plan.order.seed, Purpose.BATCH))
        self.window: Window | None = None
        self._place = 0

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Take the steps that a window completes; see `ooc.engines.engine.Engine`."""
        assert isinstance(window, RemoteWindow), "its rows are with the workers"
        if window is not self.window:
            self.window, self._place = window, window.start
        return self._advance(window, last_step)

    def results(self) -> dict[str, Any]:
        """Return what a run's results tell of the cluster."""
        return {"lanes": self.serving.lanes, **self.serving.traffic.results()}

    def _advance(self, window: RemoteWindow, last_step: int) -> bool:
        loop, total = self._loop, sum(window.lane_rows)
        loop.bind_batch()
        while loop.step < last_step:
            in_batch, left = int(loop.work["in_batch"][0]), total - self._place
            if left == 0 and not (window.last and in_batch):
                break
            available = min(left, loop.batch_size - in_batch)
            if available:
                self._take(window, available, in_batch)
                self._place += available
            is_full = in_batch + available == loop.batch_size
            if is_full or (window.last and available == left):
                refusal = end_step(loop)
                if refusal is not None:
                    raise diverged(self)
                self.serving.traffic.steps += 1
        return self._place == total

    def _take(self, window: RemoteWindow, count: int, before: int) -> None:
        """Take the gradients over the next rows of a window."""
        spans = zip(
            rows_before(window.lane_rows, self._place),
            rows_before(window.lane_rows, self._place + count),
            strict=True,
        )
        shares = dict[int, Share]()
        for lane, (start, stop) in enumerate(spans):
            if stop > start:
                shares[lane] = Share(lane, window.epoch, window.index, start, stop, before)
                before += stop - start
        state, begun = self.train_state, time.perf_counter()
        active, parameters = state.active.tolist(), state.parameters.tobytes()
        step = Step(self.step, self.batch_size, active, parameters)
        found = self.serving.ask_lanes("shares", shares, step)
        self.serving.traffic.wait_seconds += time.perf_counter() - begun
        sums = [sums_from_wire(found[lane], state.parameters) for lane in shares]
        refusal = take_shares(self._loop, sums)
        if refusal is not None:
            share = list(shares.values())[refusal.share] if refusal.row >= 0 else None
            raise refused(self, refusal, share)


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
    crew = Crew(client, work)
    loader.open_reader = lambda: RemoteReader(crew, loader)
    try:
        crew.begin()
        if how.is_exact:
            yield ClusterEngine(crew, model, loader, train_state)
        else:
            yield LocalStepsEngine(crew, model, loader, train_state, how)
    finally:
        loader.open_reader = None
        crew.end()
