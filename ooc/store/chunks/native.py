"""The native path: stored bytes into reused memory, decoded straight into the slab.

A chunk that is not as wide as a row, not wholly wanted, or stored in another order of axes or bytes
is decoded aside and its part copied.
"""

import threading
from collections.abc import Iterator
from contextlib import closing
from operator import floordiv
from typing import Any, NamedTuple

import numpy as np

from ooc.store.chunks.at_once import NOT_STORED, Piece, StoredFile, WholeChunks, pieces_of
from ooc.store.chunks.beginnings import decode_beginning
from ooc.store.chunks.c_libraries import chunk_decoder
from ooc.store.chunks.codecs import (
    DecodeError,
    decode_chunk,
    most_stored_bytes,
    verify_crc32c,
)
from ooc.store.chunks.files import LARGEST_GAP, LARGEST_REQUEST, FileReader, Request, TruncatedError
from ooc.store.chunks.layout import ChunkLayout
from ooc.store.chunks.objects import ObjectReader
from ooc.store.chunks.row_reader import BadChunks, Cell, NotStoredError, RowReader, Runs

Files = FileReader | ObjectReader


class Job(NamedTuple):
    """One stored chunk: its bytes in a file, which of its rows are wanted, and where they go.

    Its first wanted row is `above`; of rows from `end` on no run wants any.
    """

    path: str
    start: int
    stop: int
    above: int
    end: int
    out: np.ndarray
    cell: Cell
    run: int


class _ShardIndex(NamedTuple):
    """Offset and size of each chunk of a shard (n, 2) uint64, and the bytes of its file."""

    entries: np.ndarray
    file_bytes: int


class _ThreadMemory(threading.local):
    """Scratch of one thread: one decoded chunk, which one, and how far it goes."""

    def __init__(self) -> None:
        self.decoded = np.empty(0, np.uint8)
        self.chunk: tuple[object, Cell] | None = None
        self.valid = 0


class NativeReader(RowReader):
    """Reads rows of one array; errors call it by its name, and say where it is."""

    def __init__(
        self, name: str, where: str, layout: ChunkLayout, files: Files, missing: str
    ) -> None:
        super().__init__(name, where, layout.shape, layout.chunks)
        self.layout, self.files, self.missing = layout, files, missing
        self.chunk_bytes = layout.chunk_bytes
        self._straight = layout.is_plain and layout.chunks[1:] == layout.shape[1:]
        self._folder = layout.folder if isinstance(files, FileReader) else None
        self._indices: dict[str, _ShardIndex] = {}
        self._stored: dict[int, StoredFile] = {}
        # What is in a thread's memory is known by it, and does not keep its reader alive.
        self._mark, self._memory = object(), _ThreadMemory()
        self.whole = self._whole_chunks()

    def _whole_chunks(self) -> WholeChunks | None:
        """Return what reads whole chunks at once, where they are stored so that it can."""
        layout, files, decoder = self.layout, self.files, chunk_decoder(self.layout.decoders)
        one_across = layout.shard is None or max(layout.shard.chunks[1:], default=1) == 1
        if decoder is None or not (self._straight and one_across and isinstance(files, FileReader)):
            return None
        return WholeChunks(layout, files, decoder)

    def _stored_file(self, number: int) -> StoredFile | None:
        """Return the file of a number along axis 0, where chunks are as wide as rows."""
        if (found := self._stored.get(number)) is not None:
            return found
        rest = (0,) * (len(self.shape) - 1)
        path = f"{self.layout.folder}/{self.layout.key((number, *rest))}"
        try:
            index = self._indices.get(path) or self._index_of(path)
        except (OSError, DecodeError):
            return None
        if index is None:
            return None
        found = StoredFile(path, index.entries, index.file_bytes)
        if self.layout.shard is not None:  # a file of one chunk may have another size by now
            self._stored[number] = found
        return found

    @property
    def retries(self) -> int:
        """Transient errors that were retried so far."""
        return self.files.retries

    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill `out` with runs of rows; neighbours in a file share a request."""
        whole = self.whole
        pieces = pieces_of(runs, out) if whole is None else whole.read(runs, out, self._stored_file)
        if not pieces:
            return
        jobs = self._jobs(pieces, _ends(runs, self.chunks[0]), bad)
        with closing(self.files.read_all(_merged(jobs))) as answers:
            for request, data in answers:
                for job in request.wanted_for:
                    try:
                        if data is None:  # only a bad job of a failed request is to be blamed
                            stored = self.files.read(Request(job.path, job.start, job.stop))
                        elif isinstance(data, OSError):
                            raise data
                        else:
                            stored = data[job.start - request.start : job.stop - request.start]
                        self._decode(job, stored)
                    except FileNotFoundError:
                        self._fill(job, bad)
                    except (OSError, DecodeError) as error:
                        self._blame(bad, job.cell, job.path, error, job.run)

    def _fill(self, job: Job, bad: BadChunks) -> None:
        """Take a chunk that is not there for the fill value, where the user says so."""
        if self._fills:
            self._check_folder()
            job.out[...] = self.layout.fill_value
        else:
            self._blame(bad, job.cell, job.path, NotStoredError(self.layout.fill_value), job.run)

    @property
    def _fills(self) -> bool:
        return self.missing == "fill" and self.layout.fill_value is not None

    def share_scratch(self, other: "NativeReader") -> None:
        """Decode aside where another one does, so that a thread holds one chunk of all such."""
        self._memory = other._memory

    def requests(self, runs: Runs) -> list[Request]:
        """Return the requests that `read_runs` would make, for measuring their parts alone."""
        # Only the shape of this memory is used: no page of it is ever touched.
        rows = sum(stop - start for start, stop in runs)
        out = np.empty((rows, *self._read_shape), self.layout.dtype)
        pieces, ends = pieces_of(runs, out), _ends(runs, self.chunks[0])
        return list(_merged(self._jobs(pieces, ends, None)))

    def _decode(self, job: Job, stored: memoryview) -> None:
        decoders, memory = self.layout.decoders, self._memory
        if self._straight and job.out.nbytes == self.chunk_bytes:
            decode_chunk(decoders, stored, job.out.reshape(-1).view(np.uint8))
            return
        if memory.decoded.nbytes < self.chunk_bytes:
            memory.chunk, memory.decoded = None, np.empty(self.chunk_bytes, np.uint8)
        decoded = memory.decoded[: self.chunk_bytes]
        rows, *rest = job.out.shape
        # Rows come one after the other, but where another axis is stored first.
        end = job.end if self.layout.axes[0] == 0 else self.chunks[0]
        needed = end * (self.chunk_bytes // self.chunks[0])
        if memory.chunk != (self._mark, job.cell) or memory.valid < needed:
            memory.chunk = None
            memory.valid = decode_beginning(decoders, stored, decoded, needed)
            memory.chunk = self._mark, job.cell
        part = slice(job.above, job.above + rows), *(slice(0, length) for length in rest)
        job.out[...] = self.layout.values(decoded)[part]

    def _jobs(self, pieces: list[Piece], ends: dict[int, int], bad: BadChunks) -> Iterator[Job]:
        """Yield what is stored of some rows; deal with what is not. `ends` are those of runs."""
        for run, start, stop, rows in pieces:
            for cell in self._cells(start, stop):
                place = self._place(cell, start, stop)
                # Runs of sequences overlap: what ends one may be in the midst of another.
                end = min(stop - cell[0] * self.chunks[0], self.chunks[0])
                end = max(end, ends.get(cell[0], 0))
                above = start + place[0].start - cell[0] * self.chunks[0]
                wanted = rows[place]
                path, number = self._file(cell)
                try:
                    found = self._bytes_of(path, number)
                except (OSError, DecodeError, NotStoredError) as error:
                    self._blame(bad, cell, path, error, run)
                    continue
                if found is None:
                    wanted[...] = self.layout.fill_value
                else:
                    yield Job(path, *found, above, end, wanted, cell, run)

    def _file(self, cell: Cell) -> tuple[str, int]:
        """Return the file that holds a chunk, and the chunk's number in it."""
        shard = self.layout.shard
        outer, number = cell, 0
        if shard is not None:
            outer = tuple(map(floordiv, cell, shard.chunks))
            for inner, count in zip(cell, shard.chunks, strict=True):
                number = number * count + inner % count
        return f"{self.layout.folder}/{self.layout.key(outer)}", number

    def _bytes_of(self, path: str, number: int) -> tuple[int, int] | None:
        """Return a chunk's first and last byte; None if it stands for the fill value."""
        index = self._indices.get(path) or self._index_of(path)
        start, size = index.entries[number].tolist() if index else (NOT_STORED, NOT_STORED)
        if index is None or start == size == NOT_STORED:
            if self._fills:
                if index is None:
                    self._check_folder()
                return None
            raise NotStoredError(self.layout.fill_value)
        stop = start + size
        if stop > index.file_bytes:
            raise DecodeError(
                f"its index names bytes {start:,} to {stop:,} of a file of {index.file_bytes:,}"
            )
        if size > most_stored_bytes(self.chunk_bytes):
            raise DecodeError(f"{size:,} bytes are too many for a chunk of {self.chunk_bytes:,}")
        return start, stop

    def _index_of(self, path: str) -> _ShardIndex | None:
        """Return a file's index, which of a chunk alone is its size; None if there is no file."""
        shard = self.layout.shard
        if shard is None:
            if (size := self.files.size(path)) is None:
                return None
            if size == 0:
                raise TruncatedError("the file is empty")
            return _ShardIndex(np.array([[0, size]], np.uint64), size)
        length = shard.index_bytes
        if (found := self.files.read_end(path, length, shard.index_at_end)) is None:
            return None
        stored, size = found
        if len(stored) < length:
            raise TruncatedError(f"the file has {size:,} bytes, its index alone takes {length:,}")
        try:
            body = verify_crc32c(stored) if shard.index_has_checksum else stored
        except DecodeError as error:
            raise DecodeError(f"the shard's index is damaged: {error}") from None
        # A copy: the bytes are those of the thread's memory.
        entries = np.frombuffer(body, shard.index_dtype).reshape(-1, 2).astype(np.uint64)
        self._indices[path] = _ShardIndex(entries, size)
        return self._indices[path]

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers of a cluster make their own memory and read their own indices.
        own = (self.name, self.where, self.layout, self.files, self.missing)
        return NativeReader, own, {"_stripe": self._stripe, "_across": self._across}


def _ends(runs: Runs, length: int) -> dict[int, int]:
    """Return how far the chunks are wanted in which runs begin or end, by their numbers."""
    found: dict[int, int] = {}
    for start, stop in runs:
        for number in (start // length, (stop - 1) // length):
            end = min(stop - number * length, length)
            found[number] = max(found.get(number, 0), end)
    return found


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
