"""Read a whole dataset and list every chunk that cannot be read."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from ooc.core.progress import Progress, Report, silent
from ooc.store.chunks import BadChunkError, RowReader, open_reader, parts_of
from ooc.store.dataset import ArraySpec, Dataset
from ooc.store.joined import without_joined

PIECE_BYTES = 8 * 2**20


def verify(
    dataset: Dataset, io: str = "auto", threads: int | None = None, report: Report = silent
) -> list[BadChunkError]:
    """Read every chunk of every array; return those that cannot be read, in order.

    Threads are by default one a core. Each holds about 8 MiB, or one chunk.
    """
    # A chunk is whole or not, whatever its numbers stand for.
    dataset = dataset.undecoded()
    begun, done = time.perf_counter(), 0
    arrays = without_joined(dataset.arrays)
    stored = [each for spec in arrays.values() for each in parts_of(dataset, spec)]
    total = sum(spec.row_bytes * spec.shape[0] for _, spec in stored)
    found: list[BadChunkError] = []
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for alone, spec in stored:
            chunk_rows, rows = spec.chunks[0], spec.shape[0]
            step = max(1, PIECE_BYTES // (chunk_rows * spec.row_bytes)) * chunk_rows
            spans = [(start, min(start + step, rows)) for start in range(0, rows, step)]
            read = partial(_read_span, open_reader(alone, spec.name, io), spec)
            for (start, stop), bad in zip(spans, pool.map(read, spans), strict=True):
                found += bad
                done += (stop - start) * spec.row_bytes
                seconds, all_rows = time.perf_counter() - begun, dataset.stored_rows
                report(Progress(done * all_rows // total, all_rows, done, seconds))
    return found


def _read_span(reader: RowReader, spec: ArraySpec, span: tuple[int, int]) -> list[BadChunkError]:
    """Read whole chunks; return those that cannot be read."""
    bad: list[BadChunkError] = []
    reader.read_runs([span], np.empty((span[1] - span[0], *spec.shape[1:]), spec.dtype), bad)
    return bad
