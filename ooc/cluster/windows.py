"""The windows of a run whose rows stay with those that serve its lanes."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ooc.cluster.messages import LanePart
from ooc.cluster.traffic import Serving
from ooc.stream.lanes import lane_order
from ooc.stream.loader import Loader
from ooc.stream.window import Window

# What is done with bad chunks and missing values where all rows are used.
RAISE = ("raise", "raise")
_NO_ROWS = np.empty(0, np.int32)


@dataclass(frozen=True)
class RemoteWindow(Window):
    """A window whose rows are with the workers; `lane_rows` are how many each lane has."""

    lane_rows: tuple[int, ...] = ()


class RemoteReader:
    """Has the workers read windows; a context manager, as the reader of this process is.

    `begin` is called before each window, where no step waits for all workers; then no window does,
    either, unless rows may be left out, of which a worker knows but when it has read them.
    """

    retries = 0

    def __init__(
        self, serving: Serving, loader: Loader, begin: Callable[[], None] | None = None
    ) -> None:
        self._serving, self._loader, self._begin = serving, loader, begin
        stream = loader.stream
        self._waits = begin is None or (stream.on_bad_chunk, stream.missing_values) != RAISE

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
        lanes = range(self._serving.lanes)
        self._serving.look()
        if self._begin is not None:
            self._begin()
        if not self._waits:
            orders = (lane_order(self._loader.plan.order, lane) for lane in lanes)
            return [LanePart(each.window_stream_rows(epoch, index)) for each in orders]
        places = {lane: (lane, epoch, index) for lane in lanes}
        found = self._serving.ask_lanes("windows", places)
        return [LanePart(*found[lane]) for lane in places]
