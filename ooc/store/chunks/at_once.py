"""Whole chunks of runs of rows, read and decoded by one compiled call.

Used where a run has loaded the kernel; what it leaves, for whatever reason, goes the way of
`ooc.store.chunks.native`, to the same bits.
"""

import sys
import threading
from collections.abc import Callable, Sequence
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


class StoredFile(NamedTuple):
    """A file of chunks.

    Attributes
    ----------
    entries
        (chunks, 2) uint64: where each begins, and its bytes; 2**64 - 1 twice where it has none.
    size
        Bytes of the file.
    """

    path: str
    entries: np.ndarray
    size: int


Find = Callable[[int], StoredFile | None]


def compilation() -> "Compilation":
    """Return that of the kernel that reads whole chunks."""
    from ooc.core.compiler import kernel_for
    from ooc.store.chunks.reading_kernel import read_chunks

    flat, square = np.zeros(1, np.int64), np.zeros((1, 1), np.int64)
    given = flat, flat, square, square, square, np.zeros((1, 1, 1), np.int64), flat
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
        self._how = decoder.kind, layout.chunk_bytes, drops
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
        chunks = np.full((len(numbers), 4), -1, np.int64)
        chunks[:, 3] = targets
        names, of_file = np.unique(numbers // self._per_file, return_inverse=True)
        by_file, ends = np.argsort(of_file, kind="stable"), np.cumsum(np.bincount(of_file)).tolist()
        entries, sizes = np.full((len(numbers), 2), NOT_STORED, np.uint64), np.zeros_like(names)
        known, begin = list[tuple[int, StoredFile]](), 0
        for place, (number, end) in enumerate(zip(names.tolist(), ends, strict=True)):
            file = find(number)
            if file is not None:
                known.append((place, file))
                inside = by_file[begin:end]
                entries[inside] = file.entries[numbers[inside] % self._per_file]
                sizes[place] = file.size
            begin = end
        chunks[:, 1:3] = _inside(entries, sizes[of_file])
        with self._files.held([file.path for _, file in known]) as held:
            descriptors = np.full(len(names), -1, np.int64)
            descriptors[[place for place, _ in known[: len(held)]]] = held
            chunks[:, 0] = descriptors[of_file]
            size = chunks[:, 2]
            # Of none at all no request is made: the kernel would not know that it has landed.
            wanted = (chunks[:, 0] >= 0) & (size > 0) & (size <= self._most)
            given, done = chunks[wanted], np.zeros(len(chunks), bool)
            found = np.full(len(given), -1, np.int64)
            # Each may begin and end in the midst of a page.
            batches = self._files.batches(int((given[:, 2] + 2 * ALIGNMENT).sum()) + 2 * ALIGNMENT)
            work = np.empty((2, len(given)), np.int64), np.empty((2, DEPTH, 5), np.int64)
            if kernel(self._calls, self._numbers(), batches, given, *work, found) < 0:
                self._files.drop_batches()
        done[wanted] = found == 0
        for error_number in found[found > 0].tolist():
            self._files.counts(error_number)
        return done

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


def _inside(entries: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return entries as int64, with -1 for those that are not inside a file of their size.

    An index that lies is told where its chunk is read alone; no sum can overflow.
    """
    start, length = entries.astype(np.int64).T
    inside = (start >= 0) & (start <= sizes) & (length <= sizes - start)
    return np.where(inside[:, None], entries.astype(np.int64), -1)


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
