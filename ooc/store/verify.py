"""Read a whole dataset and list every chunk that cannot be read."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

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
            chunk_rows = spec.chunks[0]
            step = max(1, PIECE_BYTES // (chunk_rows * spec.row_bytes)) * chunk_rows
            read = partial(_read_piece, open_reader(dataset, spec.name, io), spec, step)
            for rows, bad in pool.map(read, range(0, spec.shape[0], step)):
                found += bad
                done += rows * spec.row_bytes
                share = done * dataset.stored_rows // total
                report(Progress(share, dataset.stored_rows, done, time.perf_counter() - begun))
    return found


def _read_piece(
    reader: RowReader, spec: ArraySpec, step: int, start: int
) -> tuple[int, list[BadChunkError]]:
    """Read whole chunks from `start` on; return their rows, and what cannot be read."""
    stop = min(start + step, spec.shape[0])
    bad: list[BadChunkError] = []
    reader.read_runs([(start, stop)], np.empty((stop - start, *spec.shape[1:]), spec.dtype), bad)
    return stop - start, bad
