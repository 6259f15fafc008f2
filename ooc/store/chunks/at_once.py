"""Whole chunks of runs of rows, read and decoded by one compiled call.

Used where a run has loaded the kernel; what it leaves, for whatever reason, goes the way of
`ooc.store.chunks.native`, to the same bits.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ooc.store.chunks.asynchronous_io import DEPTH, call_numbers
from ooc.store.chunks.c_libraries import BloscContext, ChunkDecoder, libc_functions
from ooc.store.chunks.codecs import most_stored_bytes
from ooc.store.chunks.files import ALIGNMENT, LARGEST_REQUEST, FileReader
from ooc.store.chunks.layout import ChunkLayout
from ooc.store.chunks.row_reader import Runs

if TYPE_CHECKING:
    from ooc.core.compile_child import Compilation

KERNEL = "ooc.store.chunks.reading_kernel"
# Where a chunk that is not there begins, and its bytes, says an index of a shard.
NOT_STORED = 2**64 - 1


class _ThreadMemory(threading.local):
    """What decoders keep of one thread."""

    @cached_property
    def blosc(self) -> BloscContext:
        return BloscContext()


_CONTEXT = _ThreadMemory()


class Piece(NamedTuple):
    """Rows of a run, by its number, and where they go."""

    run: int
    start: int
    stop: int
    out: np.ndarray


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of chunks.

    Attributes
    ----------
    entries
        (chunks, 2) uint64: where each begins, and its bytes; 2**64 - 1 twice where it has none.
    size
        Bytes of the file.
    address
        That of the entries.
    """

    path: str
    entries: np.ndarray
    size: int
    address: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", self.entries.ctypes.data)


Find = Callable[[int], StoredFile | None]


def compilation() -> "Compilation":
    """Return that of the kernel that reads whole chunks."""
    from ooc.core.compiler import kernel_for
    from ooc.store.chunks.reading_kernel import read_chunks

    flat, square = np.zeros(1, np.int64), np.zeros((1, 1), np.int64)
    given = flat, flat, square, square, square, square, np.zeros((1, 1, 1), np.int64), flat
    return kernel_for(read_chunks, *given)


def loaded_kernel() -> Any:
    """Return the kernel where somebody has loaded it: no reader waits for a compiler."""
    found = getattr(sys.modules.get(KERNEL), "read_chunks", None)
    return found if found is not None and found.overloads else None


class WholeChunks:
    """Reads the whole chunks of runs, where chunks are as wide as rows.

    Parameters
    ----------
    layout, files, decoder
        Where chunks are, what reads them, and what decodes them.
    """

    def __init__(self, layout: ChunkLayout, files: FileReader, decoder: ChunkDecoder) -> None:
        self._files = files
        self._rows, self._dtype, self._row_shape = layout.chunks[0], layout.dtype, layout.shape[1:]
        self._per_file = 1 if layout.shard is None else layout.shard.chunks[0]
        self._row_bytes = layout.chunk_bytes // self._rows
        self._most = min(LARGEST_REQUEST, most_stored_bytes(layout.chunk_bytes))
        drops = files.mode == "buffered"
        self._how = decoder.kind, layout.chunk_bytes, drops, self._most
        calls = (*(libc_functions() or ()), decoder.decode, decoder.checksum, *call_numbers())
        self._calls = np.array(calls, np.int64)

    def read(self, runs: Runs, out: np.ndarray, find: Find) -> list[Piece]:
        """Fill what whole chunks fill; return the rows that are left, in their order.

        `find` returns the file of a number, counted along axis 0; None if it cannot be used.
        """
        kernel = loaded_kernel()
        fits = out.flags.c_contiguous and out.dtype == self._dtype
        if kernel is None or not fits or out.shape[1:] != self._row_shape or not runs:
            return pieces_of(runs, out)
        starts, stops = np.array(runs, np.int64).T
        places = np.cumsum(stops - starts) - (stops - starts)
        firsts = -(-starts // self._rows)
        counts = np.maximum(stops // self._rows - firsts, 0)
        if not counts.any():
            return pieces_of(runs, out)
        of_run = np.repeat(np.arange(len(runs)), counts)
        numbers = firsts[of_run] + np.arange(len(of_run))
        numbers -= (np.cumsum(counts) - counts)[of_run]
        above = places[of_run] + numbers * self._rows - starts[of_run]
        targets = out.ctypes.data + above * self._row_bytes
        done = self._fill(kernel, numbers, targets, find)
        if done.all() and (counts * self._rows == stops - starts).all():
            return []
        return self._left(runs, out, numbers, of_run, done)

    def decode(self, stored: Sequence[np.ndarray], out: np.ndarray) -> int:
        """Decode chunks that are in memory over each other, to measure that; count the bad ones.

        Parameters
        ----------
        stored
            Their bytes, (size,) uint8 each.
        out
            (chunk bytes,) uint8, C-contiguous.
        """
        from ooc.store.chunks.reading_kernel import decode_chunks

        chunks = [(0, each.ctypes.data, len(each), out.ctypes.data) for each in stored]
        return int(decode_chunks(self._calls, self._numbers(), np.array(chunks, np.int64)))

    def _numbers(self) -> np.ndarray:
        return np.array([*self._how, _CONTEXT.blosc.address], np.int64)

    def _fill(
        self, kernel: Any, numbers: np.ndarray, targets: np.ndarray, find: Find
    ) -> np.ndarray:
        """Read and decode chunks to their addresses; tell of each whether it is there."""
        names, of_file = np.unique(numbers // self._per_file, return_inverse=True)
        files = [find(name) for name in names.tolist()]
        known = [file for file in files if file is not None]
        chunks = np.empty((len(numbers), 4), np.int64)
        chunks[:, 0], chunks[:, 1], chunks[:, 3] = of_file, numbers % self._per_file, targets
        found = np.full(len(numbers), -1, np.int64)
        work = np.empty((2, len(numbers)), np.int64), np.empty((2, DEPTH, 5), np.int64)
        # Each may begin and end in the midst of a page.
        batches = self._files.batches(len(numbers) * (self._most + 2 * ALIGNMENT) + 2 * ALIGNMENT)
        with self._files.held([file.path for file in known]) as held:
            descriptors = iter(held)
            table = [
                (-1, 0, 0) if file is None else (next(descriptors, -1), file.address, file.size)
                for file in files
            ]
            given = self._calls, self._numbers(), batches, np.array(table, np.int64), chunks
            self._files.end_batches(landed=kernel(*given, *work, found) >= 0)
        for error_number in found[found > 0].tolist():
            self._files.counts(error_number)
        return found == 0

    def _left(
        self, runs: Runs, out: np.ndarray, numbers: np.ndarray, of_run: np.ndarray, done: np.ndarray
    ) -> list[Piece]:
        """Return the rows of runs that are in no chunk that is done."""
        left = list[Piece]()
        for piece in pieces_of(runs, out):
            begin = piece.start
            ends = (*numbers[done & (of_run == piece.run)].tolist(), None)
            for number in ends:
                end = piece.stop if number is None else number * self._rows
                if begin < end:
                    part = piece.out[begin - piece.start : end - piece.start]
                    left.append(Piece(piece.run, begin, end, part))
                begin = end + self._rows
        return left


def pieces_of(runs: Runs, out: np.ndarray) -> list[Piece]:
    """Return each run with its rows of `out`, which has one after the other.

    Examples
    --------
    >>> [each.out.tolist() for each in pieces_of([(4, 6), (9, 10)], np.arange(3))]
    [[0, 1], [2]]
    """
    found, place = list[Piece](), 0
    for run, (start, stop) in enumerate(runs):
        found.append(Piece(run, start, stop, out[place : place + stop - start]))
        place += stop - start
    return found
