"""The engine of a run whose lanes are served by workers, and the windows that it is given."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from distributed import Client

from ooc.cluster.crew import Crew
from ooc.cluster.messages import BadRow, LanePart, LaneWork, Share, Step, sums_from_wire
from ooc.core.errors import DataError, DivergedError, InputError
from ooc.core.random_keys import Purpose, prefix
from ooc.engines.forwarding import forwarded
from ooc.kernels.counters import NEVER
from ooc.models.bad_rows import explain
from ooc.models.contract import Model
from ooc.models.lane_shares import Refusal, end_step, take_shares
from ooc.models.loop import make_loop
from ooc.models.scratch import has_lanes
from ooc.models.step_kernels import kernel_for_steps
from ooc.models.train_state import TrainState, rate_of_step
from ooc.optim import Method
from ooc.store.dataset import Dataset
from ooc.stream.lanes import rows_before
from ooc.stream.loader import Loader
from ooc.stream.window import Window

_NO_ROWS = np.empty(0, np.int32)


@dataclass(frozen=True)
class RemoteWindow(Window):
    """A window whose rows are with the workers; `lane_rows` are how many each lane has."""

    lane_rows: tuple[int, ...] = ()


class RemoteReader:
    """Has the workers read windows; a context manager, as the reader of this process is."""

    retries = 0

    def __init__(self, crew: Crew, loader: Loader) -> None:
        self._crew, self._loader = crew, loader

    def __enter__(self) -> "RemoteReader":
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the workers: they serve until the run ends."""

    def windows(self, places: Iterable[tuple[int, int, int]]) -> Iterator[Window]:
        """Yield the windows at these places (epoch, window, first unused row)."""
        dataset, order = self._loader.dataset, self._loader.plan.order
        for epoch, index, start in places:
            begun = time.perf_counter()
            parts: list[LanePart] = self._open(epoch, index)
            missing: dict[str, int] = {}
            for part in parts:
                for name, count in part.missing.items():
                    missing[name] = missing.get(name, 0) + count
            yield RemoteWindow(
                arrays={}, roles=dataset.roles, order=_NO_ROWS, start=start,
                block_starts=np.empty(0, np.int64), block_rows=order.block_rows,
                epoch=epoch, index=index, last=index == order.windows - 1,
                skipped_chunks=sum(part.skipped_chunks for part in parts),
                skipped_rows=sum(part.skipped_rows for part in parts),
                wait_seconds=time.perf_counter() - begun, missing=missing,
                stores=dataset.stores, lane_rows=tuple(part.rows for part in parts),
            )  # fmt: skip

    def _open(self, epoch: int, index: int) -> list[LanePart]:
        self._crew.look()
        places = {lane: (lane, epoch, index) for lane in range(self._crew.lanes)}
        found = self._crew.ask_lanes("windows", places)
        return [LanePart(*found[lane]) for lane in places]


class ClusterEngine:
    """Takes steps with gradients of lanes that workers serve; see `ooc.engines.engine.Engine`."""

    ended = False
    step, rows = forwarded("_loop.step"), forwarded("_loop.rows")
    batch_size = forwarded("_loop.batch_size")

    def __init__(self, crew: Crew, model: Model, loader: Loader, train_state: TrainState) -> None:
        self.train_state, self._model, plan = train_state, model, loader.plan
        self._crew = crew
        self._loop = make_loop(
            model, loader.dataset, train_state, plan.batch_size, plan.largest_batch,
            lanes=plan.order.lanes,
        )  # fmt: skip
        self._loop.begin(loader.step, prefix(plan.order.seed, Purpose.BATCH))
        self._window: Window | None = None
        self._place = 0

    def advance(self, window: Window, last_step: int = NEVER) -> bool:
        """Take the steps that a window completes; see `ooc.engines.engine.Engine`."""
        assert isinstance(window, RemoteWindow), "its rows are with the workers"
        if window is not self._window:
            self._window, self._place = window, window.start
        return self._advance(window, last_step)

    def results(self) -> dict[str, Any]:
        """Return what a run's results tell of the cluster."""
        traffic, steps = self._crew.traffic, max(self._crew.traffic.steps, 1)
        return {
            "lanes": self._crew.lanes,
            "workers": traffic.workers,
            "bytes_sent": traffic.sent,
            "bytes_received": traffic.received,
            "bytes_per_step": (traffic.sent + traffic.received) // steps,
            "answers_wait_seconds": traffic.wait_seconds,
            "lanes_moved": traffic.moves,
            "workers_lost": traffic.lost,
        }

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
                    raise self._diverged()
                self._crew.traffic.steps += 1
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
        found = self._crew.ask_lanes("shares", shares, step)
        self._crew.traffic.wait_seconds += time.perf_counter() - begun
        sums = [sums_from_wire(found[lane], state.parameters) for lane in shares]
        refusal = take_shares(self._loop, sums)
        if refusal is not None:
            raise self._explained(refusal, list(shares.values()))

    def _explained(
        self, refusal: Refusal, shares: list[Share]
    ) -> DataError | DivergedError | InputError:
        """Say why a row cannot be used, as its worker sees it."""
        if refusal.row < 0:
            return self._diverged()
        share = shares[refusal.share]
        asked = {share.lane: (*share, refusal.row)}
        found = BadRow(*self._crew.ask_lanes("rows", asked)[share.lane])
        rate = rate_of_step(self._model, self.train_state.settings[0], self.step)
        where = f" (step {self.step}, learning rate {rate:g}, lane {share.lane})"
        assert self._window is not None, "a row is refused in a window"
        return explain(
            self._model, refusal.status, found.row, np.asarray(found.features),
            found.target, found.weight, where, self._window.roles,
        )  # fmt: skip

    def _diverged(self) -> DivergedError:
        rate = rate_of_step(self._model, self.train_state.settings[0], self.step)
        return DivergedError(
            f"the loss is not finite (step {self.step}, learning rate {rate:g}), whose data are "
            "finite: the steps are too long; lower the learning rate, or standardise the features"
        )


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
    if lanes < 2:
        raise InputError(
            "a cluster shares out a run by its lanes, and it has one; give lanes=2 or more, such "
            "as the workers' threads: the bits depend on lanes, and never on workers"
        )
    if any(method.full is not None for method in methods):
        names = ", ".join(method.name for method in methods)
        raise InputError(f"{names} asks for passes of its own; train it on one machine")
    kernel = kernel_for_steps(model, dataset, [each.optimizer for each in methods], batch)
    layout = model.layout(dataset.row_shape)
    if kernel is None:
        raise InputError(
            f"{model.name} declares no kernel, and is trained batch by batch on one machine"
        )
    if not has_lanes(layout, kernel, lanes):
        raise InputError(
            f"steps of {model.name} change but the parameters that a batch's rows touch; train it "
            "on one machine"
        )


@contextmanager
def lanes_on(
    client: Client, model: Model, loader: Loader, train_state: TrainState, work: LaneWork
) -> Iterator[ClusterEngine]:
    """Have workers serve a run's lanes, and read its windows; they are let go at the end."""
    crew = Crew(client, work)
    loader.open_reader = lambda: RemoteReader(crew, loader)
    try:
        crew.begin()
        yield ClusterEngine(crew, model, loader, train_state)
    finally:
        loader.open_reader = None
        crew.end()
