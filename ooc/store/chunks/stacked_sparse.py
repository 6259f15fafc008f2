"""Sparse rows of several stores as those of one matrix."""

import numpy as np

from ooc.store.chunks.row_reader import BadChunks, RowReader, Runs
from ooc.store.chunks.stacked import StackedReader
from ooc.store.sparse_rows import SparseRows
from ooc.store.stacked_sparse import StackedSparseSpec


class StackedCsrReader(StackedReader):
    """Reads runs of sparse rows of whichever stores they are in; rows of none are empty."""

    def __init__(self, spec: StackedSparseSpec, where: str, parts: list[RowReader]) -> None:
        super().__init__(spec, where, parts, [spec.dtype] * len(parts))
        self._sources = spec.sources

    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill rows, given as `SparseRows`, as `CsrReader.read_runs` does.

        Chunks are named by their store and its own rows, and noted by those of all stores.

        Raises
        ------
        BadChunkError
            Without `bad`, for the first chunk that cannot be read.
        DataError
            If a column is beyond the matrix: its row and its store are named.
        """
        rows: SparseRows = out  # type: ignore[assignment]
        begin, done = rows.start_of(0), 0
        for piece in self._pieces(runs):
            _leave_empty(rows, done, piece.place, begin)
            rows.place(np.array([begin]), np.zeros(1, np.int64), piece.place)
            self._read(piece, rows[piece.place : piece.stop], bad)
            source = self._sources[piece.store]
            for start, stop in piece.rows:
                begin += source.place_of(stop) - source.place_of(start)
            done = piece.stop
        _leave_empty(rows, done, sum(stop - start for start, stop in runs), begin)


def _leave_empty(rows: SparseRows, first: int, stop: int, begin: int) -> None:
    rows.place(np.full(stop - first, begin), np.zeros(stop - first, np.int64), first)
