"""Sparse rows in a store: found in both layouts, described, and refused where they do not fit."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from sparse_rows import random_matrix, write_csr, write_sparse

import ooc
from ooc.cli import main
from ooc.core.errors import DataError, InputError
from ooc.store.chunks import BadChunkError, open_reader
from ooc.store.sparse import SparseSpec
from ooc.store.sparse_rows import empty_rows

MATRIX = random_matrix(400, 50)
Y = np.arange(400) % 2


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("stored", ["float32", "float64", "int16", "int64", "bool"])
@pytest.mark.parametrize("index", ["int32", "int64", "uint32"])
def test_blocks_are_the_rows_that_scipy_has(tmp_path: Path, stored: str, index: str) -> None:
    matrix = (MATRIX * 9).astype(stored)
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    group = zarr.create_group(tmp_path / "a.zarr")
    write_csr(group, "layers/counts", matrix, 130, {})
    dataset = ooc.open(tmp_path / "a.zarr", features="layers/counts")
    spec = dataset.arrays["layers/counts"]
    assert isinstance(spec, SparseSpec) and spec.shape == MATRIX.shape
    assert spec.dtype == ("float64" if "64" in stored else "float32")
    assert spec.longest == np.diff(matrix.indptr).max() and spec.nonzeros == matrix.nnz
    out = empty_rows(90, spec.most_nonzeros(90), 50, spec.dtype)
    out.place(np.zeros(1, np.int64), np.zeros(1, np.int64))
    open_reader(dataset, spec.name).read_runs([(10, 60), (300, 340)], out)  # type: ignore[arg-type]
    wanted = np.r_[10:60, 300:340]
    assert np.array_equal(out.take(np.arange(90)).toarray(), matrix.toarray()[wanted])
    assert np.array_equal(out[7], matrix.toarray()[17])


def test_places_are_kept_for_few_rows_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ooc.store.sparse.MOST_PLACES", 60)
    monkeypatch.setattr("ooc.store.sparse._PIECE", 100)
    matrix = random_matrix(403, 50)
    write_sparse(tmp_path / "a.zarr", matrix, chunk=30)
    spec = ooc.open(tmp_path / "a.zarr").arrays["X"]
    assert isinstance(spec, SparseSpec) and spec.unit == 8
    assert spec.places.tolist() == [*matrix.indptr[:-1:8], matrix.nnz]
    counts = sorted((np.diff(np.r_[matrix.indptr[:-1:16], matrix.nnz])).tolist(), reverse=True)
    assert spec.heaviest(16).tolist() == np.cumsum(counts).tolist()
    loader = ooc.Loader(ooc.open(tmp_path / "a.zarr"), 50, memory="512MiB", block_rows=16)
    for batch in loader:
        assert np.array_equal(batch["X"].toarray(), matrix.toarray()[batch.rows])
    with pytest.raises(InputError, match="a multiple of 8"):
        ooc.Loader(ooc.open(tmp_path / "a.zarr"), 50, memory="512MiB", block_rows=10)


def test_info_shows_rows_columns_and_density(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_sparse(tmp_path / "a.zarr", MATRIX, y=Y))
    assert main(["info", path]) == 0
    said = capsys.readouterr().out
    assert "(400, 50)" in said and f"{MATRIX.nnz:,} non-zeros" in said
    assert main(["info", path, "--verify", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["roles"]["features"] == "X" and found["bad_chunks"] == []
    assert found["arrays"]["X"]["density"] == pytest.approx(MATRIX.nnz / 20000)


def _attribute(name: str, value: object) -> Callable[[zarr.Group], None]:
    return lambda group: group["X"].attrs.__setitem__(name, value)


def _entry(part: str, place: int, value: int) -> Callable[[zarr.Group], None]:
    def write(group: zarr.Group) -> None:
        group[f"X/{part}"][place] = value

    return write


def _resize(part: str, size: int) -> Callable[[zarr.Group], None]:
    return lambda group: group[f"X/{part}"].resize((size,))


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_attribute("encoding-type", "csc_matrix"), "stored by columns.*tocsr"),
        (_attribute("shape", "wide"), "attribute shape of two numbers, but 'wide'"),
        (_attribute("shape", [399, 50]), "399 rows by its shape, but 401 entries"),
        (_attribute("shape", [400, 0]), "needs 1 to"),
        (_resize("data", 11), f"11 values, but {MATRIX.nnz:,} columns"),
        (_entry("indptr", 0, 1), "begins at 1"),
        (_entry("indptr", 31, MATRIX.nnz), "row 31 of the sparse matrix X"),
        (_entry("indptr", 400, MATRIX.nnz + 1), "its rows end at"),
        (lambda group: group["X"].__delitem__("indices"), "indices.*is not there"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_at_once(
    tmp_path: Path, change: Callable[[zarr.Group], None], said: str
) -> None:
    write_sparse(tmp_path / "a.zarr", MATRIX)
    change(zarr.open_group(tmp_path / "a.zarr", mode="r+"))
    with pytest.raises((InputError, DataError), match=said) as caught:
        ooc.open(tmp_path / "a.zarr")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wild", [50, -1])
def test_a_column_beyond_the_matrix_names_its_row(tmp_path: Path, wild: int) -> None:
    path = write_sparse(tmp_path / "a.zarr", MATRIX)
    row = 123
    zarr.open_group(path, mode="r+")["X/indices"][MATRIX.indptr[row + 1] - 1] = wild
    with pytest.raises(DataError, match=f"row {row} of X .* column {wild}, .* 0 to 49"):
        list(ooc.Loader(ooc.open(path), 50, memory="512MiB"))


def test_a_chunk_that_is_gone_is_named_by_its_rows_or_left_out(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "a.zarr", MATRIX)
    (path / "X" / "data" / "c" / "1").unlink()
    first, last = np.searchsorted(MATRIX.indptr, [700, MATRIX.nnz - 1], "right") - 1
    with pytest.raises(
        BadChunkError, match=f"chunk 1 of array X/data in .* rows {first} to {last}"
    ):
        list(ooc.Loader(ooc.open(path), 50, memory="512MiB", shuffle="none", block_rows=400))
    loader = ooc.Loader(
        ooc.open(path), 50, memory="512MiB", block_rows=20, on_bad_chunk="skip", seed=3
    )
    rows = np.concatenate([batch.rows for batch in loader])
    blocks = set((np.arange(first, last + 1) // 20).tolist())
    assert sorted(rows) == [row for row in range(400) if row // 20 not in blocks]
    assert loader.skipped_rows == 20 * len(blocks)
