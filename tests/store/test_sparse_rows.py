"""Rows of non-zeros in memory are those that SciPy has, however they lie there."""

import numpy as np
import pytest
import scipy.sparse
from sparse_rows import random_matrix

from ooc.store.sparse import SparseSpec
from ooc.store.sparse_rows import (
    as_matrix,
    copied,
    dense_row,
    empty_rows,
    is_matrix,
    rows_of,
    stacked,
    zero_rows,
)
from ooc.store.spec import ArraySpec

MATRIX = random_matrix(30, 12, 0.4, seed=3)
DENSE = MATRIX.toarray()


@pytest.mark.parametrize(
    ("stored", "read"),
    [("f4", "f4"), ("f8", "f8"), ("i2", "f4"), ("?", "f4"), ("i4", "f8")],
)
@pytest.mark.parametrize("index", ["i4", "i8"])
def test_rows_of_a_matrix_are_taken_in_any_order(stored: str, read: str, index: str) -> None:
    matrix = scipy.sparse.csr_array(DENSE.astype(stored))
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    rows, wanted = rows_of(matrix), matrix.toarray()
    assert (rows.shape, rows.dtype, len(rows)) == ((30, 12), np.dtype(read), 30)
    assert rows.starts.tolist() == matrix.indptr[:-1].tolist()
    for places in ([5, 5, 29, 0], [], list(range(30))):
        found = rows[np.array(places, int)]
        assert found.shape == (len(places), 12) and found.dtype == np.dtype(read)
        np.testing.assert_array_equal(found.toarray(), wanted[places])
        assert found.indptr.dtype == np.int32
    part = rows[7:19:2]
    np.testing.assert_array_equal(part.take(np.arange(6)).toarray(), wanted[7:19:2])
    np.testing.assert_array_equal(part[2], wanted[11])
    np.testing.assert_array_equal(rows[-1], wanted[-1])


def test_rows_lie_where_they_were_placed() -> None:
    memory = empty_rows(4, 10, 5, np.dtype("f8"))
    memory.indices[:], memory.values[:] = np.arange(10) % 5, np.arange(10)
    memory.place(np.array([7, 0]), np.array([2, 1]))
    memory.place(np.array([3, 9]), np.array([0, 1]), first=2)
    assert memory.starts.tolist() == [7, 0, 3, 9]
    wanted = np.zeros((4, 5))
    wanted[0, [2, 3]], wanted[1, 0], wanted[3, 4] = [7, 8], 0, 9
    found = memory.take(np.arange(4))
    np.testing.assert_array_equal(found.toarray(), wanted)
    assert np.diff(found.indptr).tolist() == [2, 1, 0, 1]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_copy_of_rows_lives_apart(dtype: str) -> None:
    rows = rows_of(MATRIX.astype(dtype))
    few = [3, 28, 3, 9]
    found = copied(rows.extents[few], rows)
    addresses = rows.extents[:, 1] - rows.values.ctypes.data
    assert addresses.tolist() == (MATRIX.indptr[:-1] * rows.values.itemsize).tolist()
    rows.values[:], rows.indices[:] = 0, 0
    np.testing.assert_array_equal(found.take(np.arange(4)).toarray(), DENSE[few])
    counts = np.count_nonzero(DENSE[few], axis=1)
    assert found.starts.tolist() == [0, *np.cumsum(counts)[:-1]]
    assert len(found.values) == len(found.indices) == counts.sum()
    assert (found.columns, found.dtype) == (12, np.dtype(dtype))


def test_sparse_and_dense_rows_are_handled_alike() -> None:
    assert is_matrix(MATRIX) and not is_matrix(MATRIX.tocsc()) and not is_matrix(DENSE)
    for rows in (MATRIX, DENSE):
        np.testing.assert_array_equal(dense_row(rows, 17), DENSE[17])
    whole = stacked([MATRIX[:4], MATRIX[9:10], MATRIX[:0]])
    assert whole.format == "csr"
    np.testing.assert_array_equal(whole.toarray(), DENSE[[0, 1, 2, 3, 9]])
    dense = zero_rows(3, ArraySpec("X", (9, 2, 4), np.dtype("i2"), (9, 2, 4), None))
    assert (dense.shape, dense.dtype) == ((3, 2, 4), np.int16) and not dense.any()
    sparse = zero_rows(3, SparseSpec("X", (9, 7), np.dtype("f4"), (9, 7), None))
    assert (sparse.shape, sparse.dtype) == ((3, 7), np.float32)
    assert is_matrix(as_matrix(sparse)) and as_matrix(sparse).nnz == 0
    assert as_matrix(dense) is dense
