"""Read a whole dataset and list every chunk that cannot be read."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ooc.metrics import Progress, Report, silent
from ooc.store.chunks import BadChunkError, RowReader, open_reader
from ooc.store.dataset import ArraySpec, Dataset

PIECE_BYTES = 8 * 2**20


def verify(
    dataset: Dataset, io: str = "auto", threads: int | None = None, report: Report = silent
) -> list[BadChunkError]:
    """Read every chunk of every array; return those that cannot be read, in order.

    Parameters
    ----------
    dataset
        What `ooc.open` returned.
    io
        See `ooc.store.chunks.files.choose_mode`.
    threads
        Threads that read, by default one a core. Each holds about 8 MiB, or one chunk.
    report
        Called as pieces are done.
    """
    begun, done = time.perf_counter(), 0
    total = sum(spec.row_bytes for spec in dataset.arrays.values()) * dataset.stored_rows
    found: list[BadChunkError] = []
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for spec in dataset.arrays.values():
            read = _PieceReader(open_reader(dataset, spec.name, io), spec)
            for rows, bad in pool.map(read, _pieces(spec)):
                found += bad
                done += rows * spec.row_bytes
                share = done * dataset.stored_rows // total
                report(Progress(share, dataset.stored_rows, done, time.perf_counter() - begun))
    return found


class _PieceReader:
    """Reads pieces of one array, each thread into memory of its own."""

    def __init__(self, reader: RowReader, spec: ArraySpec) -> None:
        self._reader, self._spec, self._memory = reader, spec, threading.local()

    def __call__(self, span: tuple[int, int]) -> tuple[int, list[BadChunkError]]:
        """Return the rows of a piece, and what of it cannot be read."""
        rows = span[1] - span[0]
        if getattr(self._memory, "rows", 0) < rows:
            self._memory.out = np.empty((rows, *self._spec.shape[1:]), self._spec.dtype)
            self._memory.rows = rows
        bad: list[BadChunkError] = []
        self._reader.read_runs([span], self._memory.out[:rows], bad)
        return rows, bad


def _pieces(spec: ArraySpec) -> Iterator[tuple[int, int]]:
    """Yield runs of whole chunks of about `PIECE_BYTES`."""
    chunk_rows = spec.chunks[0]
    step = max(1, PIECE_BYTES // (chunk_rows * spec.row_bytes)) * chunk_rows
    for start in range(0, spec.shape[0], step):
        yield start, min(start + step, spec.shape[0])
