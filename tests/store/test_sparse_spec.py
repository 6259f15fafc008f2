"""Sparse rows are counted as by hand, and what does not fit them is refused in whole sentences."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import zarr
from sparse_rows import random_matrix, write_csr, write_sparse

import ooc
from ooc.core.errors import DataError, InputError
from ooc.store.sparse import SparseSpec, places_of
from ooc.store.spec import ArraySpec

MATRIX = random_matrix(400, 50)

# Ten non-zeros in six rows, 3, 0, 4, 2, 1 and 0 of them, each part in chunks of its own size.
F4, I4, I8 = (np.dtype(name) for name in ("f4", "i4", "i8"))
PARTS = (
    ArraySpec("X/data", (10,), F4, (4,), None),
    ArraySpec("X/indices", (10,), I4, (5,), None),
    ArraySpec("X/indptr", (7,), I8, (3,), (6,)),
)
SPEC = SparseSpec(
    "X", (6, 7), F4, (2, 7), None, parts=PARTS, places=np.array([0, 3, 3, 7, 9, 10, 10]), longest=4
)
BY_TWO = replace(SPEC, unit=2, places=np.array([0, 3, 9, 10]))
COUNTED = replace(BY_TWO, counts=np.array([3, 0, 4, 2, 1, 0], np.uint8))


def test_bytes_of_sparse_rows_are_those_of_their_non_zeros() -> None:
    assert (SPEC.nonzeros, SPEC.value_bytes, SPEC.stored_chunks) == (10, 4 + 4, 3 + 2 + 3)
    # Two addresses and a count for each row, and the sixth part of 80 bytes.
    assert SPEC.row_bytes == 3 * 8 + 14
    assert SPEC.index_bytes == 7 * 8 + 3 * 16
    assert replace(SPEC, dtype=np.dtype("f8")).value_bytes == 8 + 4
    assert [SPEC.most_nonzeros(rows) for rows in (0, 1, 2, 3)] == [0, 4, 8, 10]
    assert SPEC.native and SPEC.is_sparse
    for number, dtype in ((0, "f8"), (1, "i8")):
        parts = list(PARTS)
        parts[number] = replace(parts[number], dtype=np.dtype(dtype))
        assert not replace(SPEC, parts=tuple(parts)).native


@pytest.mark.parametrize(
    ("spec", "rows", "decoded"),
    [
        # Non-zeros 3 to 6 are in two chunks of values and two of columns.
        (SPEC, (1, 3), 2 * 4 * 4 + 2 * 5 * 4),
        (SPEC, (2, 4), 3 * 4 * 4 + 2 * 5 * 4),
        (SPEC, (4, 6), 1 * 4 * 4 + 1 * 5 * 4),
        (SPEC, (0, 6), 3 * 4 * 4 + 2 * 5 * 4),
        (SPEC, (1, 2), 0),
        (SPEC, (5, 6), 0),
        # Where rows begin within a unit is read, too: in chunks of three int64.
        (BY_TWO, (2, 4), 3 * 4 * 4 + 2 * 5 * 4 + 2 * 3 * 8),
        (BY_TWO, (4, 6), 1 * 4 * 4 + 1 * 5 * 4 + 1 * 3 * 8),
        (BY_TWO, (0, 6), 3 * 4 * 4 + 2 * 5 * 4 + 2 * 3 * 8),
        (COUNTED, (2, 4), 3 * 4 * 4 + 2 * 5 * 4),
    ],
)
def test_what_is_decoded_for_rows_are_the_chunks_that_they_touch(
    spec: SparseSpec, rows: tuple[int, int], decoded: int
) -> None:
    assert spec.decoded_bytes(*rows) == decoded


def test_where_rows_begin_is_known_of_each_unit() -> None:
    assert [SPEC.place_of(row) for row in range(8)] == [0, 3, 3, 7, 9, 10, 10, 10]
    assert [BY_TWO.place_of(row) for row in range(8)] == [0, 0, 3, 3, 9, 9, 10, 10]
    # Blocks of two rows have 3, 6 and 1; of four rows 9 and 1.
    for spec in (SPEC, BY_TWO):
        assert spec.heaviest(2).tolist() == [6, 9, 10]
        assert spec.heaviest(4).tolist() == [9, 10]
        assert spec.heaviest(6).tolist() == [10]


@pytest.mark.parametrize("spec", [SPEC, COUNTED])
def test_where_rows_begin_is_known_without_reading(spec: SparseSpec) -> None:
    assert not spec.reads_pointers and BY_TWO.reads_pointers
    assert spec.pointers(2, 6).tolist() == [3, 7, 9, 10, 10]
    assert spec.pointers(4, 5).tolist() == [9, 10]
    assert spec.pointers(0, 6).dtype == np.int64
    assert (COUNTED.index_bytes, BY_TWO.index_bytes) == (4 * 8 + 6 + 3 * 16, 4 * 8 + 3 * 16)


@pytest.mark.parametrize(("longest", "dtype"), [(255, "u1"), (256, "u2"), (65_536, "u4")])
@pytest.mark.parametrize("place", [0, 57, 99])
def test_non_zeros_of_rows_are_kept_in_few_bytes(
    monkeypatch: pytest.MonkeyPatch, longest: int, dtype: str, place: int
) -> None:
    """Whichever piece of the pass the longest row is in, and unless they take too many."""
    wanted = np.arange(100) % 7
    wanted[place] = longest
    pointers = np.concatenate([[0], np.cumsum(wanted)])
    monkeypatch.setattr("ooc.store.sparse._PIECE", 10)
    given = ("it", pointers, 10, 100, 4, pointers[-1])
    places, found, counts = places_of(*given)
    assert (found, counts.dtype) == (longest, np.dtype(dtype))
    assert np.array_equal(counts, wanted) and np.array_equal(places, pointers[::4])
    monkeypatch.setattr("ooc.store.sparse.MOST_COUNT_BYTES", counts.nbytes - 1)
    assert len(places_of(*given)[2]) == 0
    assert len(places_of("it", pointers, 10, 100, 1, pointers[-1])[2]) == 0, "places are enough"


def test_sparse_rows_are_described_in_whole() -> None:
    assert SPEC.describe() == (
        "sparse float32 (6, 7), 10 non-zeros (23.810%), at most 4 a row, 80 B, chunks of 4"
    )
    told = SPEC.to_json()
    assert told == {
        "dtype": "float32", "shape": [6, 7], "chunks": [2, 7], "shards": None, "bytes": 80,
        "nonzeros": 10, "density": 10 / 42, "longest_row": 4,
        "parts": {part.name: part.to_json() for part in PARTS},
    }  # fmt: skip


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("bool", "f4"), ("int8", "f4"), ("uint16", "f4"), ("float16", "f4"), ("float32", "f4"),
        ("int32", "f8"), ("uint32", "f8"), ("int64", "f8"), ("float64", "f8"),
    ],
)  # fmt: skip
def test_non_zeros_are_read_in_the_smallest_floats_that_hold_them(
    tmp_path: Path, stored: str, read: str
) -> None:
    matrix = scipy.sparse.csr_array(np.ones((4, 2), bool))
    group = zarr.create_group(tmp_path / "a.zarr")
    write_csr(group, "X", matrix, 3, {})
    inner = group["X"]
    del inner["data"]
    inner.create_array("data", data=np.ones(8, stored), chunks=(3,))
    assert ooc.open(tmp_path / "a.zarr").arrays["X"].dtype == np.dtype(read)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("a_row", "chunk", "places", "rows"),
    # 30 non-zeros are 10 rows of 3; blocks begin at multiples of the unit.
    [(3, 30, 1000, 10), (3, 31, 1000, 10), (3, 2, 1000, 1), (3, 30, 30, 12), (3, 10**6, 1000, 100),
     (0, 30, 1000, 100)],
)  # fmt: skip
def test_a_chunk_of_sparse_rows_is_about_a_chunk_of_their_non_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, a_row: int, chunk: int, places: int, rows: int
) -> None:
    monkeypatch.setattr("ooc.store.sparse.MOST_PLACES", places)
    dense = np.zeros((100, 9), np.float32)
    dense[:, :a_row] = 1
    path = write_sparse(tmp_path / "a.zarr", scipy.sparse.csr_array(dense), chunk)
    inner = zarr.open_group(path / "X", mode="r+")
    columns = np.asarray(inner["indices"])
    del inner["indices"]
    inner.create_array("indices", data=columns, chunks=(7,))
    spec = ooc.open(tmp_path / "a.zarr").arrays["X"]
    assert isinstance(spec, SparseSpec) and spec.chunks == (rows, 9)
    assert (spec.longest, spec.nonzeros) == (a_row, 100 * a_row)


@pytest.mark.parametrize(
    ("rows", "most", "unit"), [(63, 64, 1), (64, 64, 2), (126, 64, 2), (127, 64, 4)]
)
def test_as_many_places_are_kept_as_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, most: int, unit: int
) -> None:
    """One more than units: the last is where the last row ends."""
    monkeypatch.setattr("ooc.store.sparse.MOST_PLACES", most)
    matrix = random_matrix(rows, 9, 0.5)
    write_sparse(tmp_path / "a.zarr", matrix, 20)
    spec = ooc.open(tmp_path / "a.zarr").arrays["X"]
    assert isinstance(spec, SparseSpec) and spec.unit == unit
    assert spec.places.tolist() == [*matrix.indptr[:-1:unit], matrix.nnz]


def test_thousands_of_rows_have_a_place_each(tmp_path: Path) -> None:
    write_sparse(tmp_path / "a.zarr", scipy.sparse.csr_array((100_000, 3)), 50_000)
    spec = ooc.open(tmp_path / "a.zarr").arrays["X"]
    assert isinstance(spec, SparseSpec) and spec.unit == 1 and len(spec.places) == 100_001


def test_an_older_layout_of_anndata_is_read_too(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    write_csr(group, "X", MATRIX, 70, {"h5sparse_format": "csr", "h5sparse_shape": [400, 50]})
    del group["X"].attrs["shape"]
    spec = ooc.open(tmp_path / "a.zarr").arrays["X"]
    assert isinstance(spec, SparseSpec) and spec.shape == (400, 50)


def test_a_group_with_some_of_the_names_is_no_matrix(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "a.zarr", MATRIX)
    group = zarr.open_group(path, mode="r+")
    del group["X"].attrs["encoding-type"]
    del group["X/indices"]
    with pytest.raises(InputError) as caught:
        ooc.open(path)
    assert str(caught.value) == f"X of {path} is a group, not an array; name an array"


def test_as_many_columns_as_int32_can_tell_are_taken(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "a.zarr", MATRIX)
    zarr.open_group(path, mode="r+")["X"].attrs["shape"] = [400, 2**31 - 1]
    assert ooc.open(path).arrays["X"].shape == (400, 2**31 - 1)


def _attribute(**values: object) -> Callable[[zarr.Group], None]:
    return lambda group: group["X"].attrs.update(values)


def _instead(part: str, values: Any, **attributes: Any) -> Callable[[zarr.Group], None]:
    def write(group: zarr.Group) -> None:
        del group[f"X/{part}"]
        group.create_array(f"X/{part}", data=values, attributes=attributes)

    return write


def _gone(part: str) -> Callable[[zarr.Group], None]:
    return lambda group: group["X"].__delitem__(part)


NNZ = f"{MATRIX.nnz:,}"
SHAPE = "the sparse matrix X of PATH has no attribute shape of two numbers, but {}; say how many "
SHAPE += "rows and columns it has: group.attrs['shape'] = [rows, columns]"
COLUMNS = "the sparse matrix X of PATH has the shape {}; it needs 1 to 2^31 - 1 columns"
REFUSED: list[tuple[Callable[[zarr.Group], None], str]] = [
    (
        _attribute(**{"encoding-type": "csc_matrix"}),
        "X of PATH is a sparse matrix of AnnData (csc_matrix), stored by columns, and rows are "
        "needed; store it by rows: in AnnData adata.X = adata.X.tocsr(), in SciPy matrix.tocsr()",
    ),
    (_attribute(shape=[400]), SHAPE.format([400])),
    (_attribute(shape=[400, 50, 1]), SHAPE.format([400, 50, 1])),
    (_attribute(shape=[400, 50.0]), SHAPE.format([400, 50.0])),
    (_attribute(shape=[True, 50]), SHAPE.format([True, 50])),
    (_attribute(shape=None), SHAPE.format(None)),
    (_attribute(shape=[-1, 50]), COLUMNS.format([-1, 50])),
    (_attribute(shape=[400, 2**31]), COLUMNS.format([400, 2**31])),
    (
        _attribute(shape=[401, 50]),
        "the sparse matrix X of PATH has 401 rows by its shape, but 401 entries in indptr, where "
        "one more than rows are needed; correct the shape, or write the matrix again",
    ),
    (_gone("data"), "data of the sparse matrix X of PATH is not there; write the matrix again"),
    (_gone("indptr"), "indptr of the sparse matrix X of PATH is not there; write the matrix again"),
    (
        _instead("indices", np.zeros((MATRIX.nnz, 1), np.int32)),
        "indices of the sparse matrix X of PATH has not one axis; write the matrix again",
    ),
    (
        _instead("data", np.ones(MATRIX.nnz, np.complex64)),
        "data of the sparse matrix X of PATH has dtype complex64, which is not a real number; "
        "write the matrix again",
    ),
    (
        _instead("data", np.ones(MATRIX.nnz, np.int16), scale_factor=0.5),
        "data of the sparse matrix X of PATH declares what no sparse rows have (it is int16 times "
        "0.5); write it decoded",
    ),
    (
        _instead("data", np.ones(MATRIX.nnz, np.int16), scale_factor=0),
        "data of the sparse matrix X of PATH declares what no sparse rows have (scale_factor is 0, "
        "which makes all values equal; correct it); write it decoded",
    ),
    (
        _instead("indices", np.ones(MATRIX.nnz, np.float32)),
        "X/indices of the sparse matrix X of PATH has type float32, and needs integers",
    ),
    (
        _instead("indptr", np.ones(401)),
        "X/indptr of the sparse matrix X of PATH has type float64, and needs integers",
    ),
    (
        _instead("indices", np.ones(1, np.int32)),
        f"the sparse matrix X of PATH has {NNZ} values, but 1 columns for them; one of the two was "
        "cut: write the matrix again",
    ),
    (
        _instead("indptr", np.full(401, 7)),
        "the sparse matrix X of PATH begins at 7 and not at 0; write it again",
    ),
    (
        _instead("indptr", np.append(np.zeros(400, np.int64), 9)),
        f"the sparse matrix X of PATH has {NNZ} values, but its rows end at 9; data or indptr were "
        "cut: write the matrix again",
    ),
]  # fmt: skip


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_a_matrix_that_does_not_fit_is_refused_in_a_whole_sentence(
    tmp_path: Path, change: Callable[[zarr.Group], None], said: str
) -> None:
    path = write_sparse(tmp_path / "a.zarr", MATRIX)
    group = zarr.open_group(path, mode="r+")
    group["X"].attrs.update({"encoding-type": "csr_matrix"})
    change(group)
    with pytest.raises((InputError, DataError)) as caught:
        ooc.open(path)
    assert str(caught.value) == said.replace("PATH", str(path))


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("piece", [10, 1000])
@pytest.mark.parametrize("row", [0, 9, 10, 11, 38])
def test_a_row_that_ends_before_it_begins_is_named_in_whichever_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: int, piece: int
) -> None:
    monkeypatch.setattr("ooc.store.sparse._PIECE", piece)
    path = write_sparse(tmp_path / "a.zarr", scipy.sparse.csr_array(np.eye(40)), 10)
    indptr = np.arange(41)
    indptr[row + 1] -= 3
    # Where it falls again, and by more, is further on.
    indptr[40] = indptr[39] - 30
    zarr.open_group(path, mode="r+")["X/indptr"][:] = indptr
    falls = indptr[row] - indptr[row + 1]
    with pytest.raises(DataError) as caught:
        ooc.open(path)
    assert str(caught.value) == (
        f"row {row} of the sparse matrix X of {path} ends before it begins, as its indptr falls "
        f"there by {falls}; a chunk of indptr is missing or damaged: write it again"
    )
