"""Rows in memory as their non-zeros, in whatever places: what a window has for a sparse matrix."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from ooc.core.memory import own_memory
from ooc.core.sliding import rows_at
from ooc.store.sparse import INDEX_DTYPE
from ooc.store.spec import ArraySpec

# Columns of the extents, int64: addresses of a row's first column and first value, and how many.
INDEX_ADDRESS, VALUE_ADDRESS, COUNT = range(3)


class SparseRows:
    """Rows of a CSR matrix, as a window's array: it is sliced and taken from as a dense one.

    Attributes
    ----------
    extents
        (rows, 3) int64, see `INDEX_ADDRESS`: what kernels gather.
    indices, values
        Memory of columns, int32, and of non-zeros; rows may lie in any order in it.

    Examples
    --------
    >>> import scipy.sparse
    >>> rows = rows_of(scipy.sparse.csr_array(np.float32([[0, 2], [3, 0], [0, 0]])))
    >>> rows.take(np.array([1, 0])).toarray().tolist(), rows[0].tolist(), rows.shape
    ([[3.0, 0.0], [0.0, 2.0]], [0.0, 2.0], (3, 2))
    """

    is_sparse = True

    def __init__(
        self, extents: np.ndarray, indices: np.ndarray, values: np.ndarray, columns: int
    ) -> None:
        self.extents, self.indices, self.values, self.columns = extents, indices, values, columns

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.extents), self.columns

    @property
    def dtype(self) -> np.dtype:
        """Of the non-zeros."""
        return self.values.dtype

    def __len__(self) -> int:
        return len(self.extents)

    def __getitem__(self, places: Any) -> Any:
        """Return a slice of the rows in the same memory, one row as a dense one, or a copy."""
        if isinstance(places, slice):
            return SparseRows(self.extents[places], self.indices, self.values, self.columns)
        if np.ndim(places) == 0:
            return self.take(np.array([places])).toarray()[0]
        return self.take(np.asarray(places))

    def take(self, places: np.ndarray, axis: int = 0) -> Any:
        """Return a copy of rows as a `scipy.sparse.csr_array`."""
        from scipy.sparse import csr_array

        starts, counts = self.starts[places], self.extents[places, COUNT]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        pointers = np.zeros(len(counts) + 1, np.int32 if total < 2**31 else np.int64)
        pointers[1:] = ends
        where = np.repeat(starts - pointers[:-1], counts)
        where += np.arange(total)
        return csr_array(
            (self.values[where], self.indices[where], pointers), (len(ends), self.columns)
        )

    @property
    def starts(self) -> np.ndarray:
        """Where each row begins in the memory."""
        return (self.extents[:, INDEX_ADDRESS] - self.indices.ctypes.data) // INDEX_DTYPE.itemsize

    def start_of(self, row: int) -> int:
        """Return where one row begins in the memory."""
        before = int(self.extents[row, INDEX_ADDRESS]) - self.indices.ctypes.data
        return before // INDEX_DTYPE.itemsize

    def place(self, starts: np.ndarray, counts: np.ndarray, first: int = 0) -> None:
        """Say where rows from `first` on lie in the memory."""
        part = self.extents[first : first + len(counts)]
        part[:, INDEX_ADDRESS] = self.indices.ctypes.data + starts * INDEX_DTYPE.itemsize
        part[:, VALUE_ADDRESS] = self.values.ctypes.data + starts * self.values.itemsize
        part[:, COUNT] = counts


def copied(extents: np.ndarray, rows: SparseRows) -> SparseRows:
    """Return a copy of some rows, by their extents, that are in this memory or in another's."""
    counts = extents[:, COUNT].copy()
    starts = np.cumsum(counts) - counts
    indices, values = (np.empty(int(counts.sum()), kind) for kind in (INDEX_DTYPE, rows.dtype))
    found = SparseRows(np.zeros_like(extents), indices, values, rows.columns)
    found.place(starts, counts)
    for old, new in zip(extents.tolist(), found.extents.tolist(), strict=True):
        for address, size in (
            (INDEX_ADDRESS, INDEX_DTYPE.itemsize),
            (VALUE_ADDRESS, values.itemsize),
        ):
            ctypes.memmove(new[address], old[address], size * old[COUNT])
    return found


def dense_row(rows: Any, place: int) -> np.ndarray:
    """Return one row of an array, or of a SciPy matrix, with all its values."""
    found: np.ndarray = rows[[place]].toarray()[0] if is_matrix(rows) else rows[place]
    return found


def empty_rows(rows: int, nonzeros: int, columns: int, dtype: np.dtype) -> SparseRows:
    """Return memory for rows with so many non-zeros in all; it goes back to the system."""
    # Rows lie in any order in it, and each begins on another page.
    indices, values = (own_memory((nonzeros,), kind, True) for kind in (INDEX_DTYPE, dtype))
    return SparseRows(own_memory((rows, 3), np.dtype(np.int64), True), indices, values, columns)


def rows_of(matrix: Any) -> SparseRows:
    """Return the rows of a SciPy matrix in CSR; what is of another type is copied."""
    kind = np.float32 if matrix.dtype.itemsize <= 2 or matrix.dtype == np.float32 else np.float64
    values = np.ascontiguousarray(matrix.data, kind)
    indices = np.ascontiguousarray(matrix.indices, INDEX_DTYPE)
    found = SparseRows(
        np.zeros((matrix.shape[0], 3), np.int64), indices, values, int(matrix.shape[1])
    )
    pointers = matrix.indptr.astype(np.int64)
    found.place(pointers[:-1], np.diff(pointers))
    return found


def rows_in_place(rows: Any, places: np.ndarray) -> Any:
    """Return rows as they lie in memory, where they follow each other, and copies of others.

    Sparse rows, wherever they lie, are told by their extents.

    Examples
    --------
    >>> rows = np.arange(10)
    >>> rows_in_place(rows, np.array([2, 3, 4])).base is rows
    True
    >>> rows_in_place(rows, np.array([2, 4])).tolist()
    [2, 4]
    """
    if len(places) and (places[1:] == places[:-1] + 1).all():
        return rows[int(places[0]) : int(places[-1]) + 1]
    if isinstance(rows, SparseRows):
        return SparseRows(rows.extents[places], rows.indices, rows.values, rows.columns)
    return rows_at(rows, places)


def rows_apart(rows: Any, places: np.ndarray) -> Any:
    """Return a copy of rows at some places; of sparse rows one that is `SparseRows`, too."""
    if isinstance(rows, SparseRows):
        return copied(rows.extents[places], rows)
    return rows_at(rows, places)


def zero_rows(rows: int, spec: ArraySpec) -> Any:
    """Return rows of zeros of an array: of a sparse one rows without non-zeros."""
    if not spec.is_sparse:
        return np.zeros((rows, *spec.shape[1:]), spec.dtype)
    indices, values = (np.zeros(0, kind) for kind in (INDEX_DTYPE, spec.dtype))
    return SparseRows(np.zeros((rows, 3), np.int64), indices, values, spec.shape[1])


def stacked(matrices: Sequence[Any]) -> Any:
    """Return the rows of several SciPy matrices, one after the other."""
    from scipy.sparse import vstack

    return vstack(matrices, format="csr")


def as_matrix(rows: Any) -> Any:
    """Return sparse rows of a window as a copy that is a SciPy matrix, and others as they are."""
    return rows.take(np.arange(len(rows))) if isinstance(rows, SparseRows) else rows


def is_matrix(values: Any) -> bool:
    """Tell whether rows are those of a SciPy matrix in CSR, without importing SciPy for it."""
    return getattr(values, "format", "") == "csr" and hasattr(values, "indptr")
