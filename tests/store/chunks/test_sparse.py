"""Sparse rows are read as blocks of any types; a chunk that is gone costs those that need it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import zarr
from sparse_rows import random_matrix, write_csr

import ooc
from ooc.core.errors import DataError
from ooc.store.chunks import BadChunkError, open_reader
from ooc.store.dataset import Dataset
from ooc.store.sparse import SparseSpec
from ooc.store.sparse_rows import SparseRows, empty_rows

CHUNK = 25
RUNS = [(0, 8), (20, 24), (96, 104), (40, 48), (112, 120)]
STORED = [("float32", "int32"), ("int16", "int32"), ("float32", "int64"), ("float64", "uint16")]


def matrix_with_a_gap() -> Any:
    """Return rows of which the second run has no non-zeros at all."""
    dense = (random_matrix(120, 40, 0.1, seed=5).toarray() * 9).round()
    dense[20:24] = 0
    return scipy.sparse.csr_array(dense)


MATRIX = matrix_with_a_gap()
DENSE = MATRIX.toarray()


def write(path: Path, values: str = "float32", index: str = "int32") -> Dataset:
    matrix = MATRIX.astype(values)
    matrix.indices = matrix.indices.astype(index)
    write_csr(zarr.create_group(path), "X", matrix, CHUNK, {})
    return ooc.open(path)


def read(dataset: Dataset, bad: list[BadChunkError] | None = None, runs: Any = RUNS) -> SparseRows:
    """Read runs to memory behind some that is another block's."""
    spec = dataset.arrays["X"]
    assert isinstance(spec, SparseSpec)
    rows = sum(stop - start for start, stop in runs)
    whole = empty_rows(2 + rows, 5 + spec.most_nonzeros(rows), 40, spec.dtype)
    whole.place(np.full(2 + rows, 5), np.zeros(2 + rows, np.int64))
    whole.values[:5], whole.indices[:5] = 77, 39
    out = whole[2:]
    open_reader(dataset, "X").read_runs(runs, out, bad)  # type: ignore[arg-type]
    assert (whole.values[:5] == 77).all() and (whole.indices[:5] == 39).all()
    return out


def places_of_runs() -> np.ndarray:
    return np.concatenate([np.arange(*run) for run in RUNS])


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("values", "index"), STORED)
@pytest.mark.parametrize(
    ("places", "unit", "count_bytes"), [(1000, 1, 0), (100, 2, 0), (60, 4, 0), (60, 4, 120)]
)
def test_runs_follow_each_other_in_memory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: str,
    index: str,
    places: int,
    unit: int,
    count_bytes: int,
) -> None:
    monkeypatch.setattr("ooc.store.sparse.MOST_PLACES", places)
    monkeypatch.setattr("ooc.store.sparse.MOST_COUNT_BYTES", count_bytes)
    dataset = write(tmp_path / "a.zarr", values, index)
    assert dataset.arrays["X"].unit == unit  # type: ignore[attr-defined]
    out, rows = read(dataset), places_of_runs()
    np.testing.assert_array_equal(out.take(np.arange(len(rows))).toarray(), DENSE[rows])
    counts = np.count_nonzero(DENSE[rows], axis=1)
    assert out.starts.tolist() == (5 + np.cumsum(counts) - counts).tolist()


def runs_that_need(number: int) -> set[int]:
    """Return which runs have a non-zero in a chunk of the parts."""
    low, high = number * CHUNK, (number + 1) * CHUNK
    spans = [(MATRIX.indptr[start], MATRIX.indptr[stop]) for start, stop in RUNS]
    return {run for run, (first, last) in enumerate(spans) if max(first, low) < min(last, high)}


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("values", "index", "part", "run"),
    [
        (*stored, part, 2 * ((number + also) % 3))
        for number, stored in enumerate(STORED)
        for also, part in enumerate(("data", "indices"))
    ],
)
def test_a_chunk_that_is_gone_costs_the_runs_that_need_it(
    tmp_path: Path, values: str, index: str, part: str, run: int
) -> None:
    path = tmp_path / "a.zarr"
    dataset = write(path, values, index)
    number = int(MATRIX.indptr[RUNS[run][0] + 4] // CHUNK)
    (path / "X" / part / "c" / str(number)).unlink()
    needed = runs_that_need(number)
    assert run in needed and len(needed) < len(RUNS)
    with pytest.raises(BadChunkError) as caught:
        read(dataset)
    first = min(needed)
    start, stop = RUNS[first]
    # The rows of that run whose non-zeros, or an end of whose, are in the chunk.
    low, high = number * CHUNK, (number + 1) * CHUNK - 1
    begins, ends = MATRIX.indptr[:-1], MATRIX.indptr[1:]
    lost = np.flatnonzero((begins <= high) & (ends > low) & (ends > begins))
    error = caught.value
    assert (error.array, error.cell, error.run) == (f"X/{part}", (number,), first)
    assert error.rows == (max(lost[0], start), min(lost[-1], stop - 1))
    bad: list[BadChunkError] = []
    out = read(dataset, bad)
    assert {each.run for each in bad} == needed
    for each in bad:
        start, stop = RUNS[each.run]
        assert (each.rows, each.cell) == ((start, stop - 1), (number,))
    rows = places_of_runs()
    kept = np.concatenate([np.full(stop - start, n) for n, (start, stop) in enumerate(RUNS)])
    wanted = np.where(np.isin(kept, list(needed))[:, None], 0, DENSE[rows])
    np.testing.assert_array_equal(out.take(np.arange(len(rows))).toarray(), wanted)


WILD = {
    "int32": (40, -1, 2**31 - 1),
    "int64": (40, -1, 2**32 + 3, -(2**32) + 3),
    "uint64": (2**63,),
}


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("index", "wild", "row"),
    [
        (index, wild, (0, 98, 119)[number % 3])
        for index, several in WILD.items()
        for number, wild in enumerate(several)
    ],
)
def test_a_column_beyond_the_matrix_names_its_row_whatever_its_type(
    tmp_path: Path, index: str, wild: int, row: int
) -> None:
    path = tmp_path / "a.zarr"
    dataset = write(path, index=index)
    place = MATRIX.indptr[row + 1] - 1 if row else 0
    row = int(np.searchsorted(MATRIX.indptr, place, "right")) - 1
    indices = zarr.open_group(path, mode="r+")["X/indices"]
    indices[place] = wild
    shown = min(max(wild, -1), 2**31 - 1)
    said = (
        f"row {row} of X in {path} has a value in column {shown}, but there are columns 0 to 39; "
        "correct the row, or the shape of the matrix"
    )
    for runs in (RUNS, [(row, row + 1)]):
        with pytest.raises(DataError) as caught:
            read(dataset, runs=runs)
        assert str(caught.value) == said


def test_rows_that_were_written_since_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only the first of several rows is known, the others are read with their block."""
    monkeypatch.setattr("ooc.store.sparse.MOST_PLACES", 60)
    monkeypatch.setattr("ooc.store.sparse.MOST_COUNT_BYTES", 0)
    path = tmp_path / "a.zarr"
    dataset = write(path)
    pointers = zarr.open_group(path, mode="r+")["X/indptr"]
    was = int(MATRIX.indptr[96])
    pointers[96] = was + 1 - int(MATRIX.indptr[97] == was)
    now = int(pointers[96])
    with pytest.raises(DataError) as caught:
        read(dataset)
    assert str(caught.value) == (
        f"row 96 of X in {path} begins at {now}, and began at {was} when it was opened: it was "
        "written since; open it again"
    )
    pointers[96], pointers[98] = was, int(MATRIX.indptr[97]) - 2
    with pytest.raises(DataError) as caught:
        read(dataset)
    assert str(caught.value) == (
        f"row 97 of the sparse matrix X of {path} ends before it begins, as its indptr falls there "
        "by 2; a chunk of indptr is missing or damaged: write it again"
    )


def test_retries_of_all_parts_count(tmp_path: Path) -> None:
    reader: Any = open_reader(write(tmp_path / "a.zarr"), "X")
    for number, part in enumerate(reader.parts):
        part.files.retries = 10**number
    assert reader.retries == 111
