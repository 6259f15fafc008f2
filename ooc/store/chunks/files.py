"""Ranges of files into reused aligned memory, past the page cache where that is possible.

Where a file system refuses that, files are read through the cache, which is dropped behind.
"""

import errno
import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from ooc.core.errors import InputError
from ooc.core.memory import own_memory
from ooc.core.process import allowed_bytes
from ooc.store.chunks.asynchronous_io import DEPTH, Batch, Placed
from ooc.store.chunks.open_files import OpenFile, OpenFiles, release

ALIGNMENT = 4096
POLICIES = ("auto", "direct", "buffered")
TRANSIENT = (errno.EIO, errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE)
RETRIES = 3
# An array that fits such a part of what the process may use stays in the page cache.
CACHED_SHARE = 4
# Each thread has two batches of requests: one is read while the other one is decoded.
BATCH_BYTES = 2 * 2**20
# Neighbours in a file share a request up to this size, and across gaps up to that one.
LARGEST_REQUEST = BATCH_BYTES - 2 * ALIGNMENT
LARGEST_GAP = 64 * 2**10


class TruncatedError(OSError):
    """A file that ends before the range that was asked for."""


def choose_mode(policy: str, stored_at_most: int, sample: Path) -> str:
    """Return how to read an array: "direct", "buffered" (cache dropped behind) or "cached".

    Under "auto", an array that fits a quarter of the memory that this process may use is read
    through the page cache and left there, for the next epoch; a larger one is read directly, if
    a sample, any file beside the data, can be.
    """
    if policy not in POLICIES:
        raise InputError(f"io is one of {', '.join(POLICIES)}, not {policy!r}")
    if policy == "auto" and stored_at_most <= allowed_bytes() // CACHED_SHARE:
        return "cached"
    if policy == "buffered" or not takes_direct_io(sample):
        return "buffered"
    return "direct"


def takes_direct_io(path: Path) -> bool:
    """Tell whether this file can be opened and read past the page cache."""
    try:
        file = OpenFile(str(path), os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
        os.preadv(file.descriptor, [mmap.mmap(-1, ALIGNMENT)], 0)
    except OSError:
        return False
    return True


@dataclass(slots=True)
class Request:
    """A range of a file, and what it is wanted for.

    Attributes
    ----------
    first, length
        First byte that is read for it, and how many: on the alignment, and a multiple of it.
    """

    path: str
    start: int
    stop: int
    wanted_for: Any = None
    first: int = field(init=False)
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.start // ALIGNMENT * ALIGNMENT
        self.length = -(-(self.stop - self.first) // ALIGNMENT) * ALIGNMENT


class _ThreadMemory(threading.local):
    """Memory of one thread for stored bytes, of whichever arrays it reads one after the other."""

    def __init__(self) -> None:
        self._single = memoryview(b"")

    def at_least(self, size: int) -> memoryview:
        """Return page-aligned memory of this size or more; what it held before is lost."""
        if len(self._single) < size:
            whole = -(-size // ALIGNMENT) * ALIGNMENT
            self._single = memoryview(own_memory((whole,), np.dtype(np.uint8)).data)
        return self._single

    @cached_property
    def batches(self) -> list[Batch]:
        """Two batches, or none where the kernel has no asynchronous I/O."""
        try:
            return [Batch(BATCH_BYTES), Batch(BATCH_BYTES)]
        except OSError:
            return []

    @cached_property
    def numbers(self) -> np.ndarray:
        """Those of both batches, (2, 6) int64."""
        return np.array([batch.numbers for batch in self.batches], np.int64)


_MEMORY = _ThreadMemory()


@dataclass(frozen=True)
class _Flight:
    """Requests of a batch that are on their way: where each will be, and its file, held open."""

    batch: Batch
    requests: list[Request]
    placed: list[Placed]
    files: list[OpenFile]

    def collect(self) -> list[int]:
        """Wait for all of them, and give their files back."""
        read = self.batch.collect()
        release(self.files)
        self.files.clear()
        return read


class FileReader:
    """Reads ranges of files in one mode, and counts transient errors that were retried."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.retries = 0
        flags = os.O_RDONLY | os.O_CLOEXEC | (os.O_DIRECT if mode == "direct" else 0)
        self._files = OpenFiles(flags)

    def size(self, path: str) -> int | None:
        """Return a file's bytes; None if it is not there."""
        try:
            return os.stat(path).st_size  # noqa: PTH116  on the way of every chunk
        except FileNotFoundError:
            return None

    def read_end(self, path: str, length: int, at_end: bool) -> tuple[memoryview, int] | None:
        """Return the last bytes of a file, or the first, and its size; None if it is not there.

        One that is shorter, as a pipe is, is not opened.
        """
        size = self.size(path)
        if size is None:
            return None
        if size < length:
            return memoryview(b""), size
        start = size - length if at_end else 0
        return self.read(Request(path, start, start + length)), size

    def __reduce__(self) -> tuple[Any, ...]:
        return FileReader, (self.mode,)

    def read(self, request: Request) -> memoryview:
        """Return the bytes of a range, valid until this thread reads again; retry a few times."""
        for attempt in range(RETRIES):
            try:
                return self._read(request)
            except OSError as error:
                if not self.counts(error.errno):
                    raise
                time.sleep(0.05 * 4**attempt)
        return self._read(request)

    def read_all(
        self, requests: Iterable[Request]
    ) -> Generator[tuple[Request, memoryview | None], None, None]:
        """Yield ranges in order, each with its bytes, or None where `read` must tell what is wrong.

        Direct reads are put in flight in two batches: one is read while the other one is used.
        Bytes are valid until the next ones are asked for. Close the generator if it is not
        exhausted: what is in flight has to land first.
        """
        free = deque(_MEMORY.batches if self.mode == "direct" else [])
        if not free:
            for request in requests:
                yield request, self._read_once(request)
            return
        flights: deque[_Flight] = deque()
        upcoming = batched(requests)
        try:
            while True:
                while free and (part := next(upcoming, None)) is not None:
                    flights.append(self._start(free.popleft(), part))
                if not flights:
                    return
                yield from self._land(flights[0])
                free.append(flights.popleft().batch)
        finally:
            for flight in flights:
                flight.collect()

    @contextmanager
    def held(self, paths: Sequence[str]) -> Iterator[list[int]]:
        """Hold files open for requests in flight; yield their descriptors, but those at the end.

        Those begin where too many are held, or with one that cannot be opened.
        """
        files = self._files.hold(paths)
        try:
            yield [file.descriptor for file in files]
        finally:
            release(files)

    def batches(self, wanted: int) -> np.ndarray:
        """Return this thread's two batches, (2, 6) int64, as the compiled kernel takes them.

        When it has returned, `end_batches` is to be called. Without asynchronous I/O both are the
        same memory, for so many bytes as are wanted at most: the second is read after the first.
        """
        if self.mode == "direct" and _MEMORY.batches:
            for batch in _MEMORY.batches:
                batch.may_be_in_flight = True
            return _MEMORY.numbers
        size = min(BATCH_BYTES, wanted)
        memory = np.frombuffer(_MEMORY.at_least(size), np.uint8)
        return np.array([(memory.ctypes.data, size, 0, 0, 0, 0)] * 2, np.int64)

    def end_batches(self, landed: bool) -> None:
        """Say whether all requests have landed; if not, this thread makes no more of that kind."""
        if self.mode != "direct":
            return
        if not landed:
            _MEMORY.batches.clear()
        for batch in _MEMORY.batches:
            batch.may_be_in_flight = False

    def counts(self, error_number: int | None) -> bool:
        """Tell whether an error is transient, and count it: the range will be read again."""
        self.retries += error_number in TRANSIENT
        return error_number in TRANSIENT

    def _start(self, batch: Batch, requests: list[Request]) -> _Flight:
        # What is not placed here is left to the plain way, which tells what is wrong.
        fitting = list(takewhile(lambda request: request.length <= BATCH_BYTES, requests))
        files = self._files.hold([request.path for request in fitting])
        placed, place = list[Placed](), 0
        for request, file in zip(fitting, files, strict=False):
            placed.append(Placed(file.descriptor, request.first, request.length, place))
            place += request.length
        batch.submit(placed)
        return _Flight(batch, requests, placed, files)

    def _land(self, flight: _Flight) -> Iterator[tuple[Request, memoryview | None]]:
        read = flight.collect()
        for number, request in enumerate(flight.requests):
            if number >= len(flight.placed):
                yield request, self._read_once(request)
            elif read[number] < request.stop - request.first:
                self.counts(-read[number])
                yield request, None
            else:
                place = flight.placed[number].place - request.first
                yield request, flight.batch.memory[place + request.start : place + request.stop]

    def _read_once(self, request: Request) -> memoryview | None:
        try:
            return self._read(request)
        except OSError as error:
            self.counts(error.errno)
            return None

    def _read(self, request: Request) -> memoryview:
        first, length, stop = request.first, request.length, request.stop
        memory = _MEMORY.at_least(length)
        file = self._files.get(request.path)
        done = 0
        while done < stop - first:
            count = os.preadv(file.descriptor, [memory[done:length]], first + done)
            done += count
            # A direct read may end off the alignment only where the file ends.
            if count == 0 or (done < stop - first and done % ALIGNMENT):
                raise TruncatedError(f"it ends after {first + done:,} of {stop:,} bytes")
        if self.mode == "buffered":
            os.posix_fadvise(file.descriptor, first, length, os.POSIX_FADV_DONTNEED)
        return memory[request.start - first : stop - first]


def batched(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Cut requests into lists that fit a batch; one that is too large stands alone."""
    part: list[Request] = []
    size = 0
    for request in requests:
        if part and (size + request.length > BATCH_BYTES or len(part) == DEPTH):
            yield part
            part, size = [], 0
        part.append(request)
        size += request.length
    if part:
        yield part
