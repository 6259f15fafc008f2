"""Joined features by way of their parts: each is read aside, and its columns go into the slab."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ooc.store.chunks.row_reader import BadChunkError, BadChunks, RowReader, Runs
from ooc.store.joined import JoinedSpec, Stripe

# Runs of rows are read together up to this many bytes, so that neighbours share a request.
ASIDE_BYTES = 2 * 2**20
# Rows that are copied at a time, where columns are picked by their places.
PIECE_BYTES = 256 * 2**10


class _ThreadMemory(threading.local):
    """Rows of one stripe, as a thread has read them."""

    def __init__(self) -> None:
        self.bytes = np.empty(0, np.uint8)


class JoinedReader(RowReader):
    """Reads runs of rows of each part, and puts them side by side.

    Chunks that cannot be read are told by the array that holds them.
    """

    def __init__(self, spec: JoinedSpec, where: str, readers: Sequence[RowReader]) -> None:
        super().__init__(spec.name, where, spec.shape, spec.chunks)
        self.spec, self.parts = spec, tuple(readers)
        self._memory = _ThreadMemory()

    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill `out` with runs of rows: what is stored of each part, decoded and cast."""
        begin = 0
        for first, group in _groups(runs, rows_aside(self.spec)):
            rows = sum(stop - start for start, stop in group)
            part = out[begin : begin + rows]
            for stripe, reader in zip(self.spec.stripes, self.parts, strict=True):
                values = self._aside(rows, stripe)
                _read(reader, group, values, bad, first)
                flat = values.reshape(rows, -1)
                for move in stripe.moves:
                    _copy(flat, part, *move)
            begin += rows

    def _aside(self, rows: int, stripe: Stripe) -> np.ndarray:
        """Return this thread's memory as rows of a stripe."""
        size, memory = rows * stripe.spec.row_bytes, self._memory
        if memory.bytes.nbytes < size:
            memory.bytes = np.empty(0, np.uint8)  # before there is more
            memory.bytes = np.empty(size, np.uint8)
        values = memory.bytes[:size].view(stripe.spec.dtype)
        return values.reshape(rows, *stripe.spec.shape[1:])

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers of a cluster make their own memory.
        return JoinedReader, (self.spec, self.where, self.parts)


def rows_aside(spec: JoinedSpec) -> int:
    """Return how many rows of short runs are read together."""
    return max(1, ASIDE_BYTES // max(stripe.spec.row_bytes for stripe in spec.stripes))


def aside_bytes(spec: JoinedSpec, block_rows: int) -> int:
    """Return the most bytes that a thread holds of a stripe's rows."""
    rows = max(block_rows, rows_aside(spec))
    return rows * max(stripe.spec.row_bytes for stripe in spec.stripes) + 2 * PIECE_BYTES


def _groups(runs: Runs, most: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield the number of a first run and those that follow it, of `most` rows, or one run."""
    first, group, rows = 0, list[tuple[int, int]](), 0
    for number, (start, stop) in enumerate(runs):
        if group and rows + stop - start > most:
            yield first, group
            first, group, rows = number, [], 0
        group.append((start, stop))
        rows += stop - start
    if group:
        yield first, group


def _read(
    reader: RowReader, runs: Runs, values: np.ndarray, bad: BadChunks, first_run: int
) -> None:
    """Read a part's runs; errors have the numbers of the runs that the caller asked for."""
    notes: list[BadChunkError] | None = None if bad is None else []
    try:
        reader.read_runs(runs, values, notes)
    except BadChunkError as error:
        raise replace(error, run=first_run + error.run) from None
    for note in notes or ():
        assert bad is not None, "notes are taken where somebody wants them"
        bad.append(replace(note, run=first_run + note.run))


def _copy(
    values: np.ndarray, out: np.ndarray, source: slice | np.ndarray, target: slice | np.ndarray
) -> None:
    """Copy columns, cast to the type of all; many of them a few rows at a time, in the cache."""
    if isinstance(source, slice):
        out[:, target] = values[:, source]
        return
    step = max(1, PIECE_BYTES // (len(source) * out.itemsize))
    for first in range(0, len(values), step):
        out[first : first + step, target] = values[first : first + step].take(source, axis=1)
