"""Codes by the texts' first appearance become codes by their order, when all texts are known."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from ooc.conversion.notes import Notes, Standing
from ooc.conversion.outputs import Layout
from ooc.conversion.source import NO_CATEGORY, TEXT
from ooc.conversion.values import Categories
from ooc.store.chunks import open_reader
from ooc.store.chunks.row_reader import RowReader
from ooc.store.dataset import open as open_dataset
from ooc.store.destinations import LocalDestination
from ooc.store.place import Place
from ooc.store.writer import Columns, Writer

# Codes that a thread reads at once, in bytes.
SPAN_BYTES, THREADS = 2**20, 2


def sort_categories(
    written: Place,
    folder: Path,
    layout: Layout,
    writer: Writer,
    standing: Standing,
    notes: Notes,
) -> None:
    """Rewrite the codes of a store whose rows are all written; its attributes are sorted already.

    It is read as `written`, and files of a `folder` of it are replaced.

    Codes are 4 bytes a row, and hardly any on the disk: it takes little time beside the rest.
    """
    for output in layout.outputs:
        if output.kind != TEXT:
            continue
        known = standing.categories.get(output.column.name, [])
        order = Categories(output.column.name, known).order
        if (order == np.arange(len(order))).all():
            continue
        notes.mark_sorting()
        table = np.append(order, np.int32(NO_CATEGORY))
        size, field = output.row_bytes, output.field()
        again = Writer(
            LocalDestination(notes.folder / "sorted"), {output.name: field}, {},
            writer.chunk_rows * size, writer.shard_rows * size,
        )  # fmt: skip
        found = open_dataset(written, output.name, False, False).undecoded()
        reader = open_reader(found, output.name)
        work = partial(_recoded, reader, output.name, writer, table)
        # One thread's shard is synced while another one's is encoded.
        with ThreadPoolExecutor(THREADS, thread_name_prefix="ooc-convert-sort") as pool:
            shards = range(-(-writer.rows // writer.shard_rows))
            for _ in pool.map(again.write_shard, shards, map(work, shards)):
                pass
        for file in sorted((again.partial / output.name / "c").iterdir()):
            place = folder / output.name / "c" / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)


def _recoded(
    reader: RowReader, name: str, writer: Writer, table: np.ndarray, shard: int
) -> Iterator[Columns]:
    """Yield the chunks of a shard with other codes; the last entry of the table is for -1."""
    stop = min((shard + 1) * writer.shard_rows, writer.rows)
    # Chunks of codes are small beside those of other arrays: many are read at once.
    step = writer.chunk_rows * max(1, SPAN_BYTES // (writer.chunk_rows * table.itemsize))
    for first in range(shard * writer.shard_rows, stop, step):
        codes = np.empty(min(step, stop - first), table.dtype)
        reader.read_runs([(first, first + len(codes))], codes)
        sorted_codes = table[codes]
        for place in range(0, len(codes), writer.chunk_rows):
            yield {name: sorted_codes[place : place + writer.chunk_rows]}
