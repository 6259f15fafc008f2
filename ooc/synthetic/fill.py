"""Fill a new dataset from a function of the chunk's number: in parallel, the same bits always."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from ooc.core.errors import InputError
from ooc.core.progress import Progress, Report, silent
from ooc.core.sizes import format_size
from ooc.store.fields import encode_chunk
from ooc.store.writer import Columns, Writer

# (number of the chunk, its first row, its rows) -> its values
Draw = Callable[[int, int, int], Columns]


def fill(
    writer: Writer, rows: int, draw: Draw, threads: int | None = None, report: Report = silent
) -> None:
    """Write `rows` rows to a new dataset, a shard at a time in each thread, which holds a chunk.

    `draw`, a function of the chunk's number alone, is called in any order, for the first chunk
    twice: an InputError says that by this chunk the disk is too small.
    """
    chunk_rows, chunks = writer.chunk_rows, -(-rows // writer.chunk_rows)
    chunks_per_shard = writer.shard_rows // chunk_rows
    row_bytes = sum(field.row_bytes for field in writer.fields.values())
    begun = time.perf_counter()

    def drawn(start: int) -> Iterator[Columns]:
        for number in range(start, min(start + chunks_per_shard, chunks)):
            first = number * chunk_rows
            yield draw(number, first, min(chunk_rows, rows - first))
            done, seconds = writer.rows, time.perf_counter() - begun
            report(Progress(done, rows, done * row_bytes, seconds))

    sampled = min(chunk_rows, rows)
    check_free_space(writer, draw(0, 0, sampled), sampled, rows)
    starts = range(0, chunks, chunks_per_shard)
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        # After a failure no other shard is begun.
        list(pool.map(writer.write_shard, range(len(starts)), map(drawn, starts)))


def check_free_space(writer: Writer, sample: Columns, sampled: int, rows: int) -> None:
    """Refuse a disk that is too small for `rows` rows, judged by a sample of them."""
    if not writer.destination.is_local:
        return
    stored = sum(
        len(encode_chunk(values, writer.fields[name].compression))
        for name, values in sample.items()
    )
    needed = int(1.02 * stored * rows / sampled) + 2**20
    folder = writer.destination.beside.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{writer.path} will take about {format_size(needed)}, but {folder} has "
            f"{format_size(free)} free; make fewer rows or choose another disk"
        )
