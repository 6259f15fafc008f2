"""Sparse rows of a piece: their non-zeros in CSR, which stay sparse on their way to the store."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ooc.store.sparse import INDEX_DTYPE


@dataclass(frozen=True)
class SparseValues:
    """Rows as their stored values.

    Attributes
    ----------
    data, indices
        Values, and their columns, int32, of all rows one after the other, (non-zeros,).
    counts
        How many of them each row has, int64, (rows,).
    width
        Columns of a row.

    Examples
    --------
    >>> rows = SparseValues(np.array([5.0, 6.0]), np.int32([3, 1]), np.array([1, 0, 1]), 4)
    >>> rows.take(np.array([2])).indices.tolist(), rows.row_of(1), len(rows.cut(1, 3))
    ([1], 2, 2)
    """

    data: np.ndarray
    indices: np.ndarray
    counts: np.ndarray
    width: int

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.data.dtype

    def with_data(self, data: np.ndarray) -> "SparseValues":
        """Return the same rows with other values."""
        return replace(self, data=data)

    def cut(self, start: int, stop: int) -> "SparseValues":
        """Return a view of consecutive rows."""
        first = int(self.counts[:start].sum())
        last = first + int(self.counts[start:stop].sum())
        return SparseValues(
            self.data[first:last], self.indices[first:last], self.counts[start:stop], self.width
        )

    def take(self, rows: np.ndarray) -> "SparseValues":
        """Return some rows, by their ascending places."""
        chosen = np.zeros(len(self), bool)
        chosen[rows] = True
        kept = np.repeat(chosen, self.counts)
        return SparseValues(self.data[kept], self.indices[kept], self.counts[rows], self.width)

    def columns(self, places: np.ndarray, width: int) -> "SparseValues":
        """Return some columns: for each of these its new place, or -1 (width,) int32."""
        found = places[self.indices]
        kept = found >= 0
        rows = self._rows()[kept]
        # Rows stay in their order; columns may have another one.
        order = np.lexsort((found[kept], rows))
        counts = np.bincount(rows, minlength=len(self)).astype(np.int64)
        return SparseValues(
            self.data[kept][order], found[kept][order].astype(INDEX_DTYPE), counts, width
        )

    def row_of(self, place: int) -> int:
        """Return the row of a value."""
        return int(np.searchsorted(np.cumsum(self.counts), place, "right"))

    def lacking(self) -> np.ndarray | None:
        """Tell of each row whether a value of it is NaN; None if none is."""
        if self.dtype.kind != "f":
            return None
        absent = np.isnan(self.data)
        if not absent.any():
            return None
        found = np.zeros(len(self), bool)
        found[self._rows()[absent]] = True
        return found

    def filled(self, number: float) -> "SparseValues":
        """Return the same rows with a number in place of NaN."""
        return self.with_data(np.where(np.isnan(self.data), self.dtype.type(number), self.data))

    def toarray(self) -> np.ndarray:
        """Return dense rows, (rows, width); values of the same place are added up."""
        from scipy.sparse import csr_array

        pointers = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self.counts, out=pointers[1:])
        rows = csr_array((self.data, self.indices, pointers), (len(self), self.width))
        return np.asarray(rows.toarray())

    def _rows(self) -> np.ndarray:
        return np.repeat(np.arange(len(self)), self.counts)


def sparse_row_bytes(dtype: np.dtype, nonzeros: int, rows: int) -> int:
    """Return the bytes of a sparse row on average: of its values, their columns and its end."""
    return -(-nonzeros * (dtype.itemsize + INDEX_DTYPE.itemsize) // max(1, rows)) + 8


def column_places(chosen: Sequence[int], width: int) -> np.ndarray:
    """Return for each of a matrix's columns its place among those that are chosen, or -1."""
    places = np.full(width, -1, INDEX_DTYPE)
    places[list(chosen)] = np.arange(len(chosen), dtype=INDEX_DTYPE)
    return places
