"""Rows of several stores as those of one array: each run goes to the readers of its stores."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ooc.store.chunks.row_reader import BadChunkError, BadChunks, RowReader, Runs
from ooc.store.stacked import StackedSpec
from ooc.store.stacked_sparse import StackedSparseSpec


class _Piece(NamedTuple):
    """Rows of one store that are read into neighbouring memory, and the runs that want them."""

    store: int
    rows: list[tuple[int, int]]
    runs: list[int]
    place: int

    @property
    def stop(self) -> int:
        return self.place + sum(stop - start for start, stop in self.rows)


class StackedReader(RowReader):
    """Reads runs of rows of whichever stores they are in; rows of none are zeros."""

    def __init__(
        self,
        spec: StackedSpec | StackedSparseSpec,
        where: str,
        parts: list[RowReader],
        dtypes: Sequence[np.dtype],
    ) -> None:
        super().__init__(spec.name, where, spec.shape, spec.chunks)
        self._stores, self.parts, self._dtypes = spec.stores, parts, dtypes

    def read_runs(self, runs: Runs, out: np.ndarray, bad: BadChunks = None) -> None:
        """Fill `out` with one run after the other.

        Chunks are named by their store and its own rows, and noted by those of all stores.

        Raises
        ------
        BadChunkError
            Without `bad`, for the first chunk that cannot be read.
        """
        done = 0
        for piece in self._pieces(runs):
            out[done : piece.place] = np.zeros((), out.dtype)
            self._read(piece, out[piece.place : piece.stop], bad)
            done = piece.stop
        rows = sum(stop - start for start, stop in runs)
        out[done:rows] = np.zeros((), out.dtype)

    def _pieces(self, runs: Runs) -> Iterator[_Piece]:
        """Yield what is read at once, in the order of the memory."""
        stores, piece, place = self._stores, None, 0
        for run, (start, stop) in enumerate(runs):
            for number, first, last in stores.pieces(start, stop):
                at = place + stores.starts[number] + first - start
                if piece is None or (piece.store, piece.stop) != (number, at):
                    if piece is not None:
                        yield piece
                    piece = _Piece(number, [], [], at)
                piece.rows.append((first, last))
                piece.runs.append(run)
            place += stop - start
        if piece is not None:
            yield piece

    def _read(self, piece: _Piece, out: Any, bad: BadChunks) -> None:
        part, start = self.parts[piece.store], self._stores.starts[piece.store]
        dtype = self._dtypes[piece.store]
        into = out if dtype == out.dtype else np.empty(out.shape, dtype)
        notes: list[BadChunkError] | None = None if bad is None else []
        try:
            part.read_runs(piece.rows, into, notes)
        except BadChunkError as error:
            raise _among_all(error, start, piece) from None
        if into is not out:
            out[...] = into
        for note in notes or ():
            assert bad is not None, "notes are taken where somebody wants them"
            bad.append(_among_all(note, start, piece))


def _among_all(error: BadChunkError, start: int, piece: _Piece) -> BadChunkError:
    """Return an error of a store's rows as one of the rows of all."""
    rows = (error.rows[0] + start, error.rows[1] + start)
    return replace(error, rows=rows, first_row=start, run=piece.runs[error.run])
