"""The native path: stored bytes into reused memory, decoded straight into the slab.

Runs of rows become jobs, one for each stored chunk; jobs that are neighbours in a file share one
request. A chunk that is as wide as a row and wholly wanted is decoded in place; any other is
decoded aside and its part is copied.
"""

import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import floordiv
from typing import Any, NamedTuple

import numpy as np

from ooc.store.chunks.bad_chunk import BadChunkError
from ooc.store.chunks.codecs import DecodeError, decode_chunk, verify_crc32c
from ooc.store.chunks.files import ALIGNMENT, BATCH_BYTES, FileReader, Request, TruncatedError
from ooc.store.chunks.layout import ChunkLayout

NOT_STORED = 2**64 - 1
# Neighbours in a file share a request up to this size, and across gaps up to that one.
LARGEST_REQUEST = BATCH_BYTES - 2 * ALIGNMENT
LARGEST_GAP = 64 * 2**10
# Codecs may need more room than they save, on data that do not compress.
CODEC_OVERHEAD = 64 * 2**10

Cell = tuple[int, ...]


def most_stored_bytes(decoded: int) -> int:
    """Return the most bytes that a chunk of this size is stored in; more is damage."""
    return decoded + decoded // 8 + CODEC_OVERHEAD


@dataclass(frozen=True)
class Job:
    """One stored chunk, or the place where it should be.

    Attributes
    ----------
    path
        Its file.
    start, stop
        Its bytes in the file.
    source
        The wanted part of the decoded chunk.
    out
        Where that part goes.
    cell
        The chunk's coordinates.
    run
        Number of the run that it is for.
    """

    path: str
    start: int
    stop: int
    source: tuple[slice, ...]
    out: np.ndarray
    cell: Cell
    run: int


class _ShardIndex(NamedTuple):
    """Offset and size of each chunk of a shard (n, 2) uint64, and the bytes of its file."""

    entries: np.ndarray
    file_bytes: int


class _ThreadMemory(threading.local):
    """Scratch of one thread: one decoded chunk, and which one that is."""

    def __init__(self) -> None:
        self.decoded = np.empty(0, np.uint8)
        self.cell: Cell | None = None


class NativeReader:
    """Reads rows of one local array.

    Parameters
    ----------
    name, where
        How errors call the array and its dataset.
    layout
        Where its chunks are.
    mode
        How files are read, see `ooc.store.chunks.files.choose_mode`.
    missing
        "raise" or "fill": what a chunk that is not stored means.
    """

    def __init__(self, name: str, where: str, layout: ChunkLayout, mode: str, missing: str) -> None:
        self.name, self.where, self.layout, self.missing = name, where, layout, missing
        self.files = FileReader(mode)
        self.chunk_bytes = layout.dtype.itemsize * math.prod(layout.chunks)
        self._across = [
            range(-(-length // chunk))
            for length, chunk in zip(layout.shape[1:], layout.chunks[1:], strict=True)
        ]
        self._row_wide = all(len(cells) == 1 for cells in self._across) and (
            layout.chunks[1:] == layout.shape[1:]
        )
        self._folder = str(layout.folder)
        self._indices: dict[str, _ShardIndex | None] = {}
        self._memory = _ThreadMemory()

    @property
    def retries(self) -> int:
        """Transient errors that were retried so far."""
        return self.files.retries

    def read_runs(
        self,
        runs: Sequence[tuple[int, int]],
        out: np.ndarray,
        bad: list[BadChunkError] | None = None,
    ) -> None:
        """Fill `out` with runs of rows, one run after the other.

        Parameters
        ----------
        runs
            (start, stop) of each, ascending.
        out
            (rows of all runs, ...) of the array's dtype, contiguous.
        bad
            Where chunks that cannot be read are noted, each with the number of its run; without
            it the first one is raised.

        Raises
        ------
        BadChunkError
            Naming array, chunk, file and rows.
        """
        with closing(self.files.read_all(_merged(self._jobs(runs, out, bad)))) as answers:
            for request, data in answers:
                for job in request.wanted_for:
                    if data is None:
                        self._read_singly(job, bad)
                    else:
                        stored = data[job.start - request.start : job.stop - request.start]
                        self._decode(job, stored, bad)

    def requests(self, runs: Sequence[tuple[int, int]], out: np.ndarray) -> list[Request]:
        """Return the requests that `read_runs` would make, for measuring their parts alone."""
        return list(_merged(self._jobs(runs, out, None)))

    def _read_singly(self, job: Job, bad: list[BadChunkError] | None) -> None:
        """Read a job of a failed request by itself, so that only a bad one is blamed."""
        try:
            data = self.files.read(Request(job.path, job.start, job.stop))
        except OSError as error:
            self._note(bad, job, _reason(error))
        else:
            self._decode(job, data, bad)

    def _decode(self, job: Job, stored: memoryview, bad: list[BadChunkError] | None) -> None:
        decoders, memory = self.layout.decoders, self._memory
        try:
            if self._row_wide and job.out.nbytes == self.chunk_bytes:
                decode_chunk(decoders, stored, job.out.reshape(-1).view(np.uint8))
                return
            if memory.cell != job.cell:
                if memory.decoded.nbytes != self.chunk_bytes:
                    memory.decoded = np.empty(self.chunk_bytes, np.uint8)
                memory.cell = None
                decode_chunk(decoders, stored, memory.decoded)
                memory.cell = job.cell
        except DecodeError as error:
            self._note(bad, job, str(error))
            return
        chunk = memory.decoded.view(self.layout.dtype).reshape(self.layout.chunks)
        job.out[...] = chunk[job.source]

    def _jobs(
        self, runs: Sequence[tuple[int, int]], out: np.ndarray, bad: list[BadChunkError] | None
    ) -> Iterator[Job]:
        place, chunk_rows = 0, self.layout.chunks[0]
        for run, (start, stop) in enumerate(runs):
            for row in range(start // chunk_rows, -(-stop // chunk_rows)):
                low, high = max(start, row * chunk_rows), min(stop, (row + 1) * chunk_rows)
                rows = out[place + low - start : place + high - start]
                source = slice(low - row * chunk_rows, high - row * chunk_rows)
                for rest in itertools.product(*self._across):
                    job = self._job((row, *rest), source, rows, run, bad)
                    if job is not None:
                        yield job
            place += stop - start

    def _job(
        self, cell: Cell, source: slice, rows: np.ndarray, run: int, bad: list[BadChunkError] | None
    ) -> Job | None:
        """Find a chunk's bytes; None if it is not stored and that is dealt with."""
        part: tuple[slice, ...] = (source,)
        out = rows
        if not self._row_wide:
            spans = [
                (number * chunk, min((number + 1) * chunk, length))
                for number, chunk, length in zip(
                    cell[1:], self.layout.chunks[1:], self.layout.shape[1:], strict=True
                )
            ]
            part = (source, *(slice(0, stop - start) for start, stop in spans))
            out = rows[(slice(None), *(slice(*span) for span in spans))]
        path, number = self._file(cell)
        unplaced = Job(path, 0, 0, part, out, cell, run)
        try:
            found = self._place(path, number)
        except (OSError, DecodeError) as error:
            self._note(bad, unplaced, _reason(error))
            return None
        if found is None:
            if self.missing == "fill":
                out[...] = self.layout.fill_value
            else:
                self._note(
                    bad,
                    unplaced,
                    "it is not stored; restore it from its source, or open with "
                    'missing="fill" if it was left out as the fill value',
                )
            return None
        start, stop, file_bytes = found
        if stop > file_bytes:
            reason = f"its index names bytes {start:,} to {stop:,} of a file of {file_bytes:,}"
            self._note(bad, unplaced, reason)
            return None
        if stop - start > most_stored_bytes(self.chunk_bytes):
            reason = f"{stop - start:,} bytes are too many for a chunk of {self.chunk_bytes:,}"
            self._note(bad, unplaced, reason)
            return None
        return Job(path, start, stop, part, out, cell, run)

    def _file(self, cell: Cell) -> tuple[str, int]:
        """Return the file that holds a chunk, and the chunk's number in it."""
        shard = self.layout.shard
        outer, number = cell, 0
        if shard is not None:
            outer = tuple(map(floordiv, cell, shard.chunks))
            for coordinate, count in zip(cell, shard.chunks, strict=True):
                number = number * count + coordinate % count
        return f"{self._folder}/{self.layout.key(outer)}", number

    def _place(self, path: str, number: int) -> tuple[int, int, int] | None:
        """Return a chunk's first and last byte and its file's size; None if it is not stored."""
        if self.layout.shard is None:
            try:
                size = self.files.size(path)
            except FileNotFoundError:
                return None
            if size == 0:
                raise TruncatedError("the file is empty")
            return 0, size, size
        if path not in self._indices:
            self._indices[path] = self._read_index(path)
        index = self._indices[path]
        if index is None:
            return None
        offset, size = index.entries[number].tolist()
        if offset == size == NOT_STORED:
            return None
        return offset, offset + size, index.file_bytes

    def _read_index(self, path: str) -> _ShardIndex | None:
        """Return the index of a shard, or None if there is no such file."""
        shard = self.layout.shard
        assert shard is not None
        try:
            size = self.files.size(path)
        except FileNotFoundError:
            return None
        length = shard.index_bytes
        if size < length:
            raise TruncatedError(f"the file has {size:,} bytes, its index alone takes {length:,}")
        start = size - length if shard.index_at_end else 0
        stored = self.files.read(Request(path, start, start + length))
        try:
            body = verify_crc32c(stored) if shard.index_has_checksum else stored
        except DecodeError as error:
            raise DecodeError(f"the shard's index is damaged: {error}") from None
        # A copy: the bytes are those of the thread's memory.
        return _ShardIndex(np.frombuffer(body, "<u8").reshape(-1, 2).copy(), size)

    def _note(self, bad: list[BadChunkError] | None, job: Job, reason: str) -> None:
        chunk_rows = self.layout.chunks[0]
        first = job.cell[0] * chunk_rows
        last = min(first + chunk_rows, self.layout.shape[0]) - 1
        error = BadChunkError(
            self.name, self.where, job.cell, job.path, (first, last), reason, job.run
        )
        if bad is None:
            raise error
        bad.append(error)

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers of a cluster make their own memory and read their own indices.
        return NativeReader, (self.name, self.where, self.layout, self.files.mode, self.missing)


def _merged(jobs: Iterator[Job]) -> Iterator[Request]:
    """Group jobs that one request can serve: neighbours in one file, in order."""
    group: list[Job] = []
    for job in jobs:
        if group and not (
            job.path == group[-1].path
            and 0 <= job.start - group[-1].stop <= LARGEST_GAP
            and job.stop - group[0].start <= LARGEST_REQUEST
        ):
            yield Request(group[0].path, group[0].start, group[-1].stop, group)
            group = []
        group.append(job)
    if group:
        yield Request(group[0].path, group[0].start, group[-1].stop, group)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
