"""Codes by the texts' first appearance become codes by their order, when all texts are known."""

from collections.abc import Iterator
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

# Codes that are read at once, in bytes.
SPAN_BYTES = 2**20


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
        for shard in range(-(-writer.rows // writer.shard_rows)):
            again.write_shard(shard, _recoded(reader, output.name, writer, shard, table))
        for file in sorted((again.partial / output.name / "c").iterdir()):
            place = folder / output.name / "c" / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)


def _recoded(
    reader: RowReader, name: str, writer: Writer, shard: int, table: np.ndarray
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
