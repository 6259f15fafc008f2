"""Batches from windows, and a position that is enough to go on from."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import index
from types import MappingProxyType
from typing import Any, NamedTuple

from ooc.core.compile_child import load_kernels
from ooc.core.errors import DataError, InputError
from ooc.core.progress import silent
from ooc.core.summary import Summary
from ooc.store.chunks import BadChunkError, reading_kernels
from ooc.store.dataset import Dataset
from ooc.stream.batch import Batch, BatchAssembler
from ooc.stream.ending import wait_for_others
from ooc.stream.options import AUTO, StreamOptions, make_stream
from ooc.stream.plan import (
    BEFORE_LOADER_BYTES,
    NO_DEMAND,
    Demand,
    Plan,
    budget_of,
    held_bytes,
    make_plan,
)
from ooc.stream.reader import ReadWindow, WindowReader
from ooc.stream.sampling import make_draws, sampled_array
from ooc.stream.scheduler import transfers_rows
from ooc.stream.splits import make_subset
from ooc.stream.window import Window
from ooc.stream.window_advice import advise, chosen_blocks


class _LeftOut(NamedTuple):
    """What a window does not give to the stream, and values that it lacks, by array."""

    rows: int = 0
    chunks: int = 0
    missing: Mapping[str, int] = MappingProxyType({})


_POSITION = ("epoch", "row", "step", "skipped", "left_out")


class Loader(Summary):
    """Mini-batches of a dataset larger than memory, blockwise shuffled.

    Iterating gives the rest of the current epoch, one epoch if it has just begun: every row once,
    every batch full but the last. The stream is a function of (seed, epoch, layout, window,
    lanes).

    Parameters
    ----------
    batch_size
        B, rows of a batch.
    arrays
        Names of the arrays that travel; by default features, target and weight.
    demand
        What a trainer needs beside windows, see `ooc.stream.plan.Demand`.
    stream, options
        See `ooc.stream.options.StreamOptions`: all of them in one object, or each by its name.
    like
        A loader of the same rows: what it has looked at is this one's, and not read again.

    Raises
    ------
    InputError
        If an array is missing or nothing fits the budget.

    Examples
    --------
    >>> import ooc
    >>> loader = Loader(ooc.open(example_dataset), batch_size=300, memory="512MiB")
    >>> [batch["X"].shape for batch in loader]
    [(300, 3), (300, 3), (300, 3), (100, 3)]
    >>> loader.state_dict()["epoch"]
    1
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        arrays: Sequence[str] | None = None,
        demand: Demand = NO_DEMAND,
        stream: StreamOptions | None = None,
        like: "Loader | None" = None,
        **options: Any,
    ) -> None:
        self.dataset, self.stream = dataset, make_stream(stream, options)
        self.names = names_of(dataset, arrays, self.stream)
        # How many blocks of a window mix well enough, by what that depends on beside the rows.
        self._enough: dict[tuple[int, ...], int] = {} if like is None else like._enough
        self.plan: Plan = self._make_plan(batch_size, demand)
        # What was looked at last, with the memory that it is in, until windows are read.
        self._read: ReadWindow | None = None
        if like is not None and self._reads_as(like):
            self._read, like._read = like._read, None
        self.epoch = self.row = self.step = 0
        self.skipped_chunks = self.skipped_rows = self.retries = 0
        # Rows that lacked a value, by array.
        self.missing: dict[str, int] = {}
        # What reads the windows, where it is not this process by itself.
        self.open_reader: Callable[[], Any] | None = None
        # By window of the epoch at hand: a position counts the rows used.
        self._left_out: dict[int, _LeftOut] = {}

    def facts(self) -> dict[str, str]:
        """Return what a prompt shows: what it reads, and where it stands."""
        place = f"epoch {self.epoch}, row {self.row:,}"
        arrays = ", ".join(self.names)
        return {"path": self.dataset.path, "arrays": arrays, **self.plan.facts(), "at": place}

    def _make_plan(self, batch_size: int, demand: Demand) -> Plan:
        """Plan the stream: the window for its data, if that is wanted, and each epoch's rows."""
        dataset, stream = self.dataset, self.stream
        budget_of(stream.memory)
        if demand.held_bytes is None:
            demand = replace(demand, held_bytes=held_bytes(before=BEFORE_LOADER_BYTES))
        plan_for = partial(make_plan, dataset, batch_size, self.names, demand=demand)
        planned = plan_for(stream, transfers=transfers_rows())
        # Of sparse rows no more than the targets are looked at.
        looks = not dataset.arrays[dataset.features].is_sparse or dataset.target is not None
        if stream.window == AUTO and stream.shuffle != "none" and looks:
            blocks = max(stream.lanes, self._enough_blocks(planned))
            planned = plan_for(replace(stream, window=blocks), transfers=transfers_rows())
        block_rows, sampling = planned.order.block_rows, stream.sampling
        order = replace(
            planned.order,
            subset=make_subset(dataset, block_rows) if sampling == "once" else None,
            draws=make_draws(dataset, sampling, block_rows),
        )
        return replace(planned, order=order)

    def _reads_as(self, other: "Loader") -> bool:
        """Whether windows of another loader of the same rows hold what this one's do."""
        mine, its = (self.names, self.plan.order), (other.names, other.plan.order)
        return mine == its and self.stream == other.stream

    def _enough_blocks(self, planned: Plan) -> int:
        """Return how many blocks of a window mix well enough, judged by a sample."""
        wait_for_others()
        by = planned.order.block_rows, planned.batch_size, planned.moment_bytes
        try:
            if by not in self._enough:
                advice = advise(self.dataset, planned, io=self.stream.io)
                self._enough[by] = chosen_blocks(advice, planned)
            return self._enough[by]
        except DataError as error:
            # Training tells which row is not finite; what cannot be read may be left out.
            if isinstance(error, BadChunkError) and self.stream.on_bad_chunk == "raise":
                raise
            return planned.order.blocks_per_window

    def advance(self, steps: int, rows: int, ends_epoch: bool) -> None:
        """Move the position on by a number of steps, and by the rows of their batches."""
        self.step += steps
        self.row += rows
        if ends_epoch:
            self.epoch, self.row, self._left_out = self.epoch + 1, 0, {}

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches from the current position to the end of its epoch."""
        return self.batches()

    def batches(self, in_place: bool = False) -> Iterator[Batch]:
        """Yield the batches from the current position to the end of its epoch.

        With `in_place` nothing is copied that need not be: a batch is valid until the next one is
        asked for, see `ooc.stream.batch.BatchAssembler`.
        """
        size, order = self.plan.batch_size, self.plan.order
        assembler = BatchAssembler(self.dataset, order, size, self.step, in_place)
        for window in self.windows(self.epoch + 1):
            for batch in assembler.add(window):
                self.advance(1, len(batch.rows), batch.ends_epoch)
                yield batch

    def windows(
        self, epochs: int, places: Iterable[tuple[int, int, int]] | None = None
    ) -> Iterator[Window]:
        """Yield windows from the current position until `epochs` epochs are over.

        The position is left to the caller, who knows how many steps were completed, and who may
        name the windows instead: (epoch, window, first unused row) of each.
        """
        if places is None:
            self._take_back()
            places = self._places(epochs)
        read, self._read = self._read, None
        local = partial(self._local_reader, self.plan, read)
        with (local if self.open_reader is None else self.open_reader)() as reader:
            for window in reader.windows(places):
                if window.index == 0:
                    self._left_out = {}
                if window.skipped_rows or window.missing:
                    left_out = _LeftOut(window.skipped_rows, window.skipped_chunks, window.missing)
                    self._left_out[window.index] = left_out
                    self._count(left_out)
                self.retries = reader.retries
                yield window

    def _local_reader(self, plan: Plan, read: ReadWindow | None) -> WindowReader:
        stream = self.stream
        if kernels := reading_kernels(self.dataset):
            load_kernels(kernels, silent)
        return WindowReader(
            self.dataset,
            self.names,
            plan,
            stream.io,
            stream.on_bad_chunk,
            stream.missing_values,
            read,
        )

    def _count(self, left_out: _LeftOut, sign: int = 1) -> None:
        """Add to the counts what a window has left out, or take it back."""
        self.skipped_rows += sign * left_out.rows
        self.skipped_chunks += sign * left_out.chunks
        for name, count in left_out.missing.items():
            self.missing[name] = self.missing.get(name, 0) + sign * count

    def _take_back(self) -> None:
        """Uncount what was left out of windows that are read again from the position on."""
        first, _ = self.plan.order.locate(self.epoch, self.row, self._rows_left_out)
        for window in [each for each in self._left_out if each >= first]:
            self._count(self._left_out.pop(window), -1)

    @property
    def _rows_left_out(self) -> dict[int, int]:
        return {index: each.rows for index, each in self._left_out.items()}

    def looked_at(self) -> Iterator[Window]:
        """Yield the first epoch's windows that have rows, without counting what is skipped in them.

        The last one that was looked at stays in memory, until windows are read or `forget` is
        called.

        Raises
        ------
        DataError
            If not one row could be read.
        """
        is_empty = True
        # Most ask for one window: none is read ahead of the one that is asked for.
        with self._local_reader(replace(self.plan, slabs=1), self._read) as reader:
            for window in reader.windows(self._places(1)):
                if len(window.order):
                    is_empty, self._read = False, reader.at_hand
                    yield window
                    self._read = None  # the next one is read into the same memory
        if is_empty:
            raise DataError(
                f"no row of {self.dataset.path} could be used: each lacks a value or cannot be read"
            )

    def forget(self) -> None:
        """Give back the memory of what was looked at."""
        self._read = None

    def state_dict(self) -> dict[str, Any]:
        """Return the position and what it is a position of: a few integers."""
        order, selection = self.plan.order, self.dataset.selection
        of_order = ("rows", "block_rows", "blocks_per_window", "shuffle", "seed", "lanes")
        return {
            "epoch": self.epoch,
            "row": self.row,
            "step": self.step,
            "skipped": [
                [index, rows, chunks, dict(missing)]
                for index, (rows, chunks, missing) in sorted(self._left_out.items())
            ],
            "left_out": [self.skipped_rows, self.skipped_chunks, dict(self.missing)],
            "batch_size": self.plan.batch_size,
            "sampling": self.stream.sampling,
            "missing_values": self.stream.missing_values,
            **{name: getattr(order, name) for name in of_order},
            "selection": None if selection is None else selection.to_json(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at a saved position; that of another stream is refused, what differs is named."""
        here = self.state_dict()
        # What was saved before there were rules for missing values, and before all was counted.
        state = {"missing_values": "raise", "left_out": [0, 0, {}], **state}
        for name, value in here.items():
            if name not in state:
                raise InputError(f"the saved position has no entry {name!r}; it is not one")
            if name not in _POSITION and state[name] != value:
                raise InputError(
                    f"the saved position is of another stream: {name} was {state[name]}, "
                    f"here it is {value}; use the same data, batch size, memory and seed"
                )
        if not 0 <= state["row"] < self.plan.order.epoch_rows or state["epoch"] < 0:
            raise InputError(
                f"the saved position is row {state['row']} of epoch {state['epoch']}, "
                f"but an epoch has {self.plan.order.epoch_rows} rows"
            )
        self.epoch, self.row, self.step = map(index, (state["epoch"], state["row"], state["step"]))
        self._left_out = {index: _LeftOut(*left_out) for index, *left_out in state["skipped"]}
        self.skipped_rows, self.skipped_chunks, missing = state["left_out"]
        self.missing = dict(missing)

    def _places(self, epochs: int) -> Iterator[tuple[int, int, int]]:
        """Yield (epoch, window, first unused row) from the current position on."""
        epoch, order = self.epoch, self.plan.order
        for each in range(epoch, epochs):
            first, start = (
                (0, 0) if each > epoch else order.locate(each, self.row, self._rows_left_out)
            )
            for window in range(first, order.windows):
                yield each, window, start if window == first else 0


def names_of(
    dataset: Dataset, arrays: Sequence[str] | None, stream: StreamOptions
) -> tuple[str, ...]:
    """Return the arrays that are read: those that travel, and those that decide which rows do."""
    sampled = sampled_array(dataset, stream.sampling)
    deciding = () if dataset.selection is None else dataset.selection.arrays
    names = (*(arrays or dataset.roles), sampled, *deciding)
    return tuple(dict.fromkeys(name for name in names if name is not None))
