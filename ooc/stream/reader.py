"""Windows into slabs: one small Dask graph for each, the next ones while the last is used.

On the embedded scheduler a task decodes straight into the slab; on one of other processes it
returns its rows, which are copied into the slab here. Tasks are delivered in plan order, whoever
ran them.
"""

import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ooc.core.errors import DataError, InputError
from ooc.core.memory import own_memory
from ooc.core.process import trim_allocator
from ooc.store.chunks import BadChunkError, RowReader, open_reader
from ooc.store.dataset import ArraySpec, Dataset
from ooc.store.joined import joined_features
from ooc.store.sparse import SparseSpec
from ooc.store.sparse_rows import empty_rows
from ooc.store.stores import told_row
from ooc.stream.asking import ask_apart
from ooc.stream.ending import end_later, wait_for_others
from ooc.stream.missing_values import complete, missing_error, rows_that_lack, rule_of
from ooc.stream.order import interleave_again
from ooc.stream.plan import Plan
from ooc.stream.scheduler import (
    check_scheduler,
    embedded_scheduler,
    scheduler_of_user,
    transfers_rows,
)
from ooc.stream.unread import MOST_NOTED, Unread
from ooc.stream.window import Window

# A task costs Dask tens of microseconds here and milliseconds on a cluster.
TASK_BYTES = 32 * 2**20

_Read = tuple[Window, list[BadChunkError]]


@dataclass(frozen=True)
class ReadWindow:
    """A window that has been read, what could not be read of it, and the slab that it is in.

    Attributes
    ----------
    retries
        Transient errors that its reader had retried by then.
    """

    window: Window
    bad: list[BadChunkError]
    slab: dict[str, np.ndarray]
    retries: int

    @property
    def place(self) -> tuple[int, int, int]:
        """Epoch, window, and first row of it that is not used."""
        return self.window.epoch, self.window.index, self.window.start


class WindowReader:
    """Reads windows ahead of their use; a context manager.

    Parameters
    ----------
    read
        A window of this plan that another reader has read: it is not read again, and its slab is
        this reader's from then on.

    Attributes
    ----------
    bad_chunks
        The first `MOST_NOTED` that were skipped; `Window.skipped_chunks` counts all.
    at_hand
        The window that is in use.
    """

    def __init__(
        self,
        dataset: Dataset,
        names: Sequence[str],
        plan: Plan,
        io: str = "auto",
        on_bad_chunk: str = "raise",
        missing_values: str = "raise",
        read: ReadWindow | None = None,
    ) -> None:
        check_scheduler()
        self.at_hand: ReadWindow | None = None
        self._read_before, self._retried_before = read, 0 if read is None else read.retries
        self.bad_chunks: list[BadChunkError] = []
        self._skips = on_bad_chunk == "skip"
        self._order, self._roles = plan.order, dataset.roles
        self._selection = dataset.selection
        self._sources = {name: open_reader(dataset, name, io) for name in names}
        self._specs = dict(zip(names, dataset.specs(tuple(names)), strict=True))
        self._where, self._rule = dataset.path, rule_of(missing_values)
        self._stores, self._joined = dataset.stores, joined_features(dataset)
        self._may_lack = self._rule.arrays(tuple(self._specs.values()))
        # All readers are busy while the windows that are on their way are read.
        self._tasks = max(
            -(-plan.readers // max(1, plan.slabs - 1)),
            -(-self._order.window_rows * plan.row_bytes // TASK_BYTES),
        )
        self._first_tasks = max(self._tasks, plan.readers)
        self._in_process = not transfers_rows()
        # All arrays have the same room behind a block.
        self._overlap = max(spec.overlap for spec in self._specs.values())
        if self._overlap and not self._in_process:
            raise InputError(
                f"rows of {dataset.features} of {dataset.path} overlap, and are read in this "
                "process alone; leave Dask's scheduler as it is"
            )
        self._sparse = [spec for spec in self._specs.values() if isinstance(spec, SparseSpec)]
        if self._sparse and not self._in_process:
            raise InputError(
                f"{self._sparse[0].name} of {dataset.path} is a sparse matrix, which is read in "
                "this process alone; leave Dask's scheduler as it is"
            )
        self._pool = ThreadPoolExecutor(plan.readers, thread_name_prefix="ooc-reader")
        # While a window's last tasks run, the next window's first ones begin, so that no reader
        # waits for another one. A scheduler of the user's gets one window at a time.
        scheduler = scheduler_of_user()
        ahead = plan.slabs if scheduler is None else 1
        self._coordinators = ThreadPoolExecutor(ahead, thread_name_prefix="ooc-coordinator")
        # A scheduler takes tasks of one name for the same, whoever asks, from whichever machine.
        self._name, self._ended = uuid.uuid4().hex, threading.Event()
        self._scheduler: Any = embedded_scheduler(self._pool)
        if scheduler is not None:
            self._scheduler = partial(ask_apart, scheduler, self._ended)
        self._slab_count, self._process = plan.slabs, os.getpid()
        self._slabs: list[dict[str, np.ndarray]] = []

    @property
    def retries(self) -> int:
        """Transient errors that were retried so far, by readers of this process."""
        return self._retried_before + sum(source.retries for source in self._sources.values())

    def __enter__(self) -> "WindowReader":
        wait_for_others()
        self._process = os.getpid()
        read = self._read_before
        self._slabs = [] if read is None else [read.slab]
        self._slabs += [self._new_slab() for _ in range(len(self._slabs), self._slab_count)]
        return self

    def __exit__(self, *error: object) -> None:
        # A loop that is left may be ended by the garbage collector, in whichever thread it runs,
        # one of these included, and under whichever lock: nothing is waited for, no lock taken.
        self._slabs.clear()
        self.at_hand = self._read_before = None
        if os.getpid() == self._process:
            end_later(self.end)

    def end(self) -> None:
        """Wait until nothing of it runs any more; its slabs go with what writes into them."""
        self._ended.set()
        self._coordinators.shutdown(wait=True, cancel_futures=True)
        self._pool.shutdown(wait=True, cancel_futures=True)
        # Threads that end leave freed memory in heaps of their own, and the next ones begin others.
        trim_allocator()

    def _new_slab(self) -> dict[str, Any]:
        """Return arrays for one window, in memory that goes back to the system after its use."""
        rows, order, arrays = self._order.window_rows, self._order, dict[str, Any]()
        places = rows + order.blocks_per_window * self._overlap
        large = partial(own_memory, large_pages=True)  # its rows are read in any order
        for spec in self._specs.values():
            if isinstance(spec, SparseSpec):
                most = spec.heaviest(order.block_rows)[: order.blocks_per_window]
                arrays[spec.name] = empty_rows(rows, int(most[-1]), spec.shape[1], spec.dtype)
            else:
                arrays[spec.name] = spec.memory(places, large)
        return arrays | {"": own_memory((rows,), np.dtype(np.int32))}

    def windows(self, places: Iterable[tuple[int, int, int]]) -> Iterator[Window]:
        """Yield the windows at these places (epoch, window, first unused row).

        While one is used, the next ones are read into the other slabs.
        """
        upcoming, free = iter(places), deque(self._slabs)
        reading: deque[tuple[Future[_Read], dict[str, np.ndarray]]] = deque()

        def start_next(tasks: int) -> None:
            place = next(upcoming, None)
            if place is not None:
                slab = free.popleft()
                reading.append((self._start(place, slab, tasks), slab))

        # The first window is waited for: all readers share it, and nothing is read beside it.
        start_next(self._first_tasks)
        while reading:
            if os.getpid() != self._process:
                raise InputError(
                    f"process {os.getpid()} was forked from {self._process} in the midst of a loop "
                    "over rows, whose readers it does not have; begin a loop of its own in it"
                )
            future, slab = reading.popleft()
            begun = time.perf_counter()
            try:
                window, bad = future.result()
            except BrokenProcessPool as error:
                raise InputError(
                    f"the processes of Dask's scheduler ended before their work: {error}; where a "
                    "script started them, begin its work below if __name__ == '__main__':"
                ) from None
            waited = time.perf_counter() - begun
            for _ in range(len(free)):
                start_next(self._tasks)
            self.bad_chunks += bad[: MOST_NOTED - len(self.bad_chunks)]
            self.at_hand = ReadWindow(window, bad, slab, self.retries)
            yield replace(window, wait_seconds=waited)
            free.append(slab)
            start_next(self._tasks)

    def _start(
        self, place: tuple[int, int, int], slab: dict[str, np.ndarray], tasks: int
    ) -> Future[_Read]:
        """Have a window read into a slab, unless it is in it."""
        read, self._read_before = self._read_before, None
        if read is None or read.place != place:
            return self._coordinators.submit(self._read, place, slab, tasks)
        there = Future[_Read]()
        there.set_result((read.window, read.bad))
        return there

    def _read(self, place: tuple[int, int, int], slab: dict[str, np.ndarray], tasks: int) -> _Read:
        epoch, index, start = place
        blocks = self._order.window_blocks(epoch, index)
        rows, block_rows = self._order.rows_in(blocks), self._order.block_rows
        block_places = block_rows + self._overlap
        places = rows + (len(blocks) - 1) * self._overlap
        arrays = {name: slab[name][:places] for name in self._specs}
        for spec in self._sparse:
            self._place_blocks(spec, blocks, arrays[spec.name])
        order = slab[""]
        if self._order.draws is None:
            order = order[:rows]
            self._order.permute_rows(epoch, index, order)
        parts = np.array_split(np.arange(len(blocks)), min(tasks, len(blocks)))
        graph = {}
        for number, part in enumerate(parts):
            outs = {
                name: array[part[0] * block_places : (part[-1] + 1) * block_places]
                for name, array in arrays.items()
            }
            spans = [self._span(block) for block in blocks[part].tolist()]
            into = outs if self._in_process else self._specs
            task = partial(_read_blocks, self._sources, spans, into, self._skips)
            graph[(f"ooc-read-{self._name}-{epoch}-{index}", number)] = (task,)
        readable = np.ones(rows if self._skips else 0, bool)
        bad_chunks, unreadable = 0, list[BadChunkError]()
        for part, (sent, bad) in zip(parts, self._scheduler(graph, list(graph)), strict=True):
            first = part[0] * block_rows
            if bad is not None and bad.count:
                bad_chunks += bad.count
                unreadable += bad.first[: MOST_NOTED - len(unreadable)]
                readable[first : first + len(bad.rows)] = ~bad.rows
            for name, values in sent.items():
                arrays[name][first : first + len(values)] = values
        weights, draws = None, self._order.draws
        if draws is not None:
            values = None if draws.array is None else self._without_room(arrays[draws.array])
            weights = draws.weights_of(values, rows) * self._used(blocks, arrays)
            order = self._order.draw_rows(epoch, index, weights, order)
        elif self._order.subset is not None:
            order = order[self._used(blocks, arrays)[order]]
        expected = self._order.window_stream_rows(epoch, index)
        if bad_chunks:
            order = order[readable[order]]
        if self._overlap:  # from here on it is of places in the arrays
            order += order // block_rows * self._overlap
            if weights is not None:
                has_row = np.arange(places) % block_places < block_rows
                weights, of_rows = np.zeros(places), weights
                weights[has_row] = of_rows
        order, missing = complete(self._rule, self._may_lack, arrays, order)
        block_lanes = self._order.lanes_of(blocks) if self._order.lanes > 1 else None
        if block_lanes is not None and len(order) < rows:
            # How lanes take turns depends on how many rows each has, not on which.
            of_rows = block_lanes[order // block_places]
            order = interleave_again(order, of_rows, self._order.lanes)
        window = Window(
            arrays,
            self._roles,
            order,
            start,
            block_starts=blocks * block_rows,
            block_rows=block_places,
            overlap=self._overlap,
            epoch=epoch,
            index=index,
            last=index == self._order.windows - 1,
            skipped_chunks=bad_chunks,
            skipped_rows=expected - len(order),
            weights=weights,
            missing=missing,
            stores=self._stores,
            joined=self._joined,
            block_lanes=block_lanes,
        )
        if missing and self._rule.name == "raise":
            raise self._missing_error(window)
        return window, unreadable

    def _place_blocks(self, spec: SparseSpec, blocks: np.ndarray, rows: Any) -> None:
        """Say where the non-zeros of each block go: one after the other."""
        spans = self._order.spans(blocks)
        sizes = [spec.place_of(stop) - spec.place_of(start) for start, stop in spans]
        starts = np.cumsum([0, *sizes[:-1]])
        for slot, start in enumerate(starts):
            rows.place(start, np.zeros(1, np.int64), slot * self._order.block_rows)

    def _missing_error(self, window: Window) -> DataError:
        """Name the first row of the dataset that is used and lacks a value."""
        name, count = next(iter(window.missing.items()))
        lacks = rows_that_lack(window.arrays[name])
        places = window.order if lacks is None else window.order[lacks[window.order]]
        rows = window.rows(places)
        first = int(np.argmin(rows))
        values = window.arrays[name][places[first]]
        told = (self._where, told_row(window, rows[first]), values, count, len(window.order))
        return missing_error(self._specs[name], *told)

    def _used(self, blocks: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Tell of the stored rows of blocks whether they are on this side of a split."""
        used = np.ones(self._order.rows_in(blocks), bool)
        if self._selection is not None:
            for slot, block in enumerate(blocks.tolist()):
                start, stop = self._span(block)
                first = slot * self._order.block_rows
                at = slot * (self._order.block_rows + self._overlap)
                part = {
                    name: arrays[name][at : at + stop - start] for name in self._selection.arrays
                }
                used[first : first + stop - start] = self._selection.contains(start, stop, part)
        return used

    def _without_room(self, values: np.ndarray) -> np.ndarray:
        """Return the rows of a window's blocks without the places behind them that hold none."""
        if not self._overlap:
            return values
        places = np.arange(len(values))
        block_rows = self._order.block_rows
        return values[places % (block_rows + self._overlap) < block_rows]

    def _span(self, block: int) -> tuple[int, int]:
        start = block * self._order.block_rows
        return start, min(start + self._order.block_rows, self._order.rows)


def _read_blocks(
    sources: dict[str, RowReader],
    spans: list[tuple[int, int]],
    outs: Mapping[str, np.ndarray | ArraySpec],
    skip: bool,
) -> tuple[dict[str, np.ndarray], Unread | None]:
    """Read blocks into the slab, or, where only specs are given, into new arrays to be sent."""
    rows = sum(stop - start for start, stop in spans)
    bad = Unread(spans) if skip else None
    sent = {}
    for name, source in sources.items():
        out = outs[name]
        if isinstance(out, ArraySpec):
            out = sent[name] = np.empty((rows, *out.shape[1:]), out.dtype)
        source.read_runs(spans, out, bad)
    return sent, bad
