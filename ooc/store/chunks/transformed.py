"""Rows that are transformed on their way from a chunk to the slab, a block at a time."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np

from ooc.core.errors import DataError
from ooc.store.chunks.row_reader import BadChunkError, BadChunks, RowReader, Runs
from ooc.store.sparse import INDEX_DTYPE, SparseSpec
from ooc.store.sparse_rows import SparseRows
from ooc.store.stores import told_row
from ooc.store.transform_kernels import NEGATIVE, NOT_WHOLE, ROWS
from ooc.store.transforms import TransformedSpec

_WHY = {
    NEGATIVE: "has a count below 0; name an array of counts as they were counted",
    NOT_WHOLE: "has a value that is no category code, a whole number; name columns of codes, or "
    "fill what is missing with a code of its own",
}


class TransformedReader(RowReader):
    """Reads stored rows aside, a block at a time, and transforms them into the caller's memory."""

    def __init__(self, spec: TransformedSpec, where: str, stored: RowReader) -> None:
        super().__init__(spec.name, where, spec.shape, spec.chunks)
        self.spec, self.stored, self.parts = spec, stored, (stored,)
        # Each thread that reads has memory of its own, which it keeps.
        self._aside = threading.local()

    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill rows, given as `SparseRows`; where each run's first one goes, its extent says.

        Raises
        ------
        DataError
            If a row cannot be transformed: it is named.
        """
        rows: SparseRows = out  # type: ignore[assignment]
        first, begin = 0, rows.start_of(0)
        for run, (start, stop) in enumerate(runs):
            noted: list[BadChunkError] | None = None if bad is None else []
            count, spec = stop - start, self.spec
            stored = self._memory(start, stop)
            try:
                self.stored.read_runs([(start, stop)], stored, noted)
            except BadChunkError as error:
                raise replace(error, run=run) from None
            size = spec.place_of(stop) - spec.place_of(start)
            if noted:
                assert bad is not None, "notes are taken where somebody wants them"
                for note in noted:
                    bad.append(replace(note, run=run))
                counts = np.zeros(count, np.int64)
            else:
                counts = self._transform(start, stored, rows, begin, size)
            rows.place(begin + np.cumsum(counts) - counts, counts, first)
            begin, first = begin + size, first + count

    def _transform(
        self, start: int, stored: Any, rows: SparseRows, begin: int, size: int
    ) -> np.ndarray:
        """Transform a block into the memory from `begin` on; return the non-zeros of its rows."""
        spec, aside = self.spec, self._aside
        counts = np.zeros(len(stored), np.int64)
        into = (rows.indices[begin : begin + size], rows.values[begin : begin + size])
        made = (spec.number, aside.keys, aside.products, *into, counts)
        if isinstance(stored, SparseRows):
            found = spec.kind.of_rows(stored.extents, stored.values.dtype.type(0), *made)
        else:
            assert spec.kind.of_codes is not None, "it was looked for when it was opened"
            found = spec.kind.of_codes(stored.astype(np.float64), *made)
        if found:
            reason, place = divmod(int(found), ROWS)
            why = _WHY.get(reason, "has more values than it had when it was opened; open it again")
            row = told_row(spec.source, start + place)
            raise DataError(
                f"row {row} of {self.name} in {self.where} {why} (transform {spec.transform})"
            )
        return counts

    def _memory(self, start: int, stop: int) -> Any:
        """Return this thread's memory for a block of stored rows."""
        aside, source, count = self._aside, self.spec.source, stop - start
        if not isinstance(source, SparseSpec):
            width = int(np.prod(source.shape[1:]))
            if getattr(aside, "rows", 0) < count:
                aside.rows, aside.stored = count, np.empty((count, width), source.dtype)
                aside.keys, aside.products = np.empty(width, np.uint64), np.empty(width)
            return aside.stored[:count]
        size = source.place_of(stop) - source.place_of(start)
        if getattr(aside, "rows", 0) < count or len(aside.stored.indices) < size:
            aside.rows = count
            aside.stored = SparseRows(
                np.zeros((count, 3), np.int64),
                np.empty(size, INDEX_DTYPE),
                np.empty(size, source.dtype),
                source.shape[1],
            )
            longest = max(1, source.longest)
            aside.keys, aside.products = np.empty(longest, np.uint64), np.empty(longest)
        block: SparseRows = aside.stored[:count]
        block.place(np.zeros(1, np.int64), np.zeros(1, np.int64))
        return block
