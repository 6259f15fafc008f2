"""Sparse rows stay sparse from the source to the store, in whatever order and pieces they come."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from conversions import MEMORY, content, converted, small_shards
from numpy.testing import assert_array_equal
from scipy.sparse import csc_matrix, csr_matrix, random_array

import ooc
from ooc.conversion.by_columns import CscMatrix
from ooc.conversion.matrices import CsrMatrix, Parts
from ooc.conversion.sparse import SparseValues, column_places
from ooc.core.errors import DataError, InputError
from ooc.core.progress import Progress
from ooc.store.chunks import open_reader
from ooc.store.sparse_rows import empty_rows

ROWS, COLUMNS = 700, 40


def matrix(rows: int = ROWS, seed: int = 0, dtype: Any = np.float32) -> csr_matrix:
    """Rows of any number of values, some of none and one of all."""
    rng = np.random.default_rng(seed)
    x = random_array((rows, COLUMNS), density=0.2, rng=rng, format="lil", dtype=np.float64)
    x[5:9] = 0
    x[11] = (1 + np.arange(COLUMNS)) / 8
    found = csr_matrix(x)
    found.data = np.ceil(found.data * 8).astype(dtype)
    found.sort_indices()
    return found


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_shards(monkeypatch)
    for module in ("matrices", "by_columns"):
        monkeypatch.setattr(f"ooc.conversion.{module}.PIECE_BYTES", 2**11)
    monkeypatch.setattr("ooc.conversion.by_columns.FEWEST_VALUES", 97)
    monkeypatch.setattr("ooc.conversion.by_columns.MOST_VALUES", 97)
    monkeypatch.setattr("ooc.conversion.by_columns.NOTED_BYTES", 2**12)
    monkeypatch.setattr("ooc.conversion.svmlight.SCAN_BYTES", 2**11)


def add_matrix(group: zarr.Group, name: str, x: Any, chunk: int = 101, **attributes: Any) -> None:
    """Write a matrix of SciPy's as AnnData does."""
    node = group.create_group(name)
    told = {"encoding-type": f"{x.format}_matrix", "shape": list(x.shape)}
    node.update_attributes(told | attributes)
    for part in ("data", "indices", "indptr"):
        node.create_array(part, data=getattr(x, part), chunks=(chunk,))


def write_zarr(path: Path, x: Any, **more: Any) -> Path:
    group = zarr.create_group(path)
    add_matrix(group, "X", x)
    for name, values in more.items():
        group.create_array(name, data=values, chunks=(90,))
    return path


def stored(group: zarr.Group, name: str = "X") -> csr_matrix:
    """Return a matrix as SciPy has it, by the description of AnnData's layout."""
    node = group[name]
    assert node.attrs["encoding-type"] == "csr_matrix"
    assert node.attrs["encoding-version"] == "0.1.0"
    parts = [node[part][:] for part in ("data", "indices", "indptr")]
    return csr_matrix(tuple(parts), shape=node.attrs["shape"])


def same(found: Any, expected: Any) -> None:
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert_array_equal(found.indptr, expected.indptr)
    assert_array_equal(found.indices, expected.indices)
    assert_array_equal(found.data, expected.data)


@pytest.mark.slow
@pytest.mark.parametrize("form", [csr_matrix, csc_matrix])
def test_rows_of_zarr_are_the_same_in_other_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Callable[..., Any]
) -> None:
    small(monkeypatch)
    x, labels = matrix(), np.arange(ROWS) % 3
    group, result = converted(write_zarr(tmp_path / "a.zarr", form(x), y=labels))
    same(stored(group), x)
    assert_array_equal(group["y"][:], labels)
    assert result["columns"]["X"] == f"sparse rows X (features), float32 ({COLUMNS},)"
    assert result["rows"] == ROWS
    data = group["X/data"]
    assert data.chunks == group["X/indices"].chunks == (128,) and data.shards == (512,)
    # What reads it is the package's own reader of rows.
    dataset = ooc.open(tmp_path / "a.zarr.out.zarr")
    spec: Any = dataset.arrays["X"]
    assert (dataset.target, spec.is_sparse, spec.native, spec.nonzeros) == ("y", True, True, x.nnz)
    rows = empty_rows(ROWS, x.nnz, COLUMNS, np.dtype(np.float32))
    rows.place(np.zeros(ROWS, np.int64), np.zeros(ROWS, np.int64))
    open_reader(dataset, "X").read_runs([(0, ROWS)], rows)  # type: ignore[arg-type]
    same(rows.take(np.arange(ROWS)).astype(np.float32), x)


def test_a_matrix_without_arrays_beside_it(tmp_path: Path) -> None:
    x = matrix(30, dtype=np.uint8)
    group, _ = converted(write_zarr(tmp_path / "a.zarr", x))
    same(stored(group), x)
    assert sorted(group) == ["X"]


def test_columns_are_chosen_by_name_in_their_order(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "a.zarr")
    x, names = matrix(60), [f"g{i}" for i in range(COLUMNS)]
    add_matrix(group, "X", x, feature_names=names)
    group.create_array("age", data=np.arange(60.0))
    found, _ = converted(tmp_path / "a.zarr", columns=["g30", "g2", "g7"], dtype="float64")
    assert_array_equal(stored(found).toarray(), x[:, [30, 2, 7]].toarray())
    assert stored(found).has_sorted_indices and stored(found).dtype == np.float64
    assert found["X"].attrs["feature_names"] == ["g30", "g2", "g7"]
    with pytest.raises(InputError, match=r"X of .* is sparse, and age beside it would need dense"):
        ooc.convert(tmp_path / "a.zarr", tmp_path / "b", columns=["g1", "age"], memory=MEMORY)
    with pytest.raises(InputError, match=r"X of .* is a sparse matrix and no target"):
        ooc.convert(tmp_path / "a.zarr", tmp_path / "b", ["age"], target="X", memory=MEMORY)


def test_numbers_that_do_not_fit_are_named_by_their_row(tmp_path: Path) -> None:
    x = matrix(60).tolil()
    x[44, 3] = 300
    path = write_zarr(tmp_path / "a.zarr", csr_matrix(x))
    told = r"row 44 of .*a\.zarr: column X holds 300\.0, which uint8 cannot hold"
    with pytest.raises(DataError, match=told):
        ooc.convert(path, tmp_path / "b", dtype="uint8", memory=MEMORY, report=False)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("rule", ["drop", "keep", "fill:4"])
def test_missing_values_of_sparse_rows(tmp_path: Path, rule: str) -> None:
    x = matrix(60)
    x.data[[3, 4, 200]] = np.nan
    dense = x.toarray()
    path = write_zarr(tmp_path / "a.zarr", x, y=np.arange(60))
    with pytest.raises(DataError, match=r"row 0 of .*: column X has no value"):
        ooc.convert(path, tmp_path / "b", memory=MEMORY, report=False)
    group, result = converted(path, missing_values=rule)
    kept = ~np.isnan(dense).any(axis=1) if rule == "drop" else np.ones(60, bool)
    expected = np.nan_to_num(dense, nan=4) if rule == "fill:4" else dense
    assert_array_equal(stored(group).toarray(), expected[kept])
    assert_array_equal(group["y"][:], np.flatnonzero(kept))
    assert result["missing"]["X"] == np.isnan(dense).any(axis=1).sum()


def stopping_at(rows: int) -> Callable[[Progress], None]:
    def stop(progress: Progress) -> None:
        if not progress.text and progress.rows >= rows:
            raise KeyboardInterrupt

    return stop


@pytest.mark.slow
@pytest.mark.parametrize("form", [csr_matrix, csc_matrix])
def test_what_was_stopped_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Callable[..., Any]
) -> None:
    small(monkeypatch)
    x = matrix()
    x.data[np.arange(0, x.nnz, 97)] = np.nan
    source, target = write_zarr(tmp_path / "a.zarr", form(x), y=np.arange(ROWS)), tmp_path / "b"
    known: dict[str, Any] = {"memory": MEMORY, "missing_values": "drop"}
    ooc.convert(source, tmp_path / "whole.zarr", report=False, **known)
    for rows in (100, 300, 500):
        with pytest.raises(KeyboardInterrupt):
            ooc.convert(source, target, report=stopping_at(rows), threads=1 + rows % 3, **known)
        assert not target.exists()
    result = ooc.convert(source, target, report=False, **known)
    assert result["rows_kept_from_before"] > 200
    assert content(target) == content(tmp_path / "whole.zarr")
    assert {path.name for path in tmp_path.iterdir()} == {"a.zarr", "b", "whole.zarr"}


KILLED = """
import os, sys
import ooc.conversion.budget as budget, ooc.conversion.by_columns as by_columns
import ooc.conversion.arrays as arrays, ooc.conversion.matrices as matrices
import ooc
budget.CHUNK_BYTES, budget.SHARD_BYTES = 2**9, 2**11
for module in (arrays, matrices, by_columns):
    module.PIECE_BYTES = 2**11
by_columns.FEWEST_VALUES = by_columns.MOST_VALUES = 97
by_columns.NOTED_BYTES = 2**12
def die(progress):
    if sys.argv[3] in progress.text or (not progress.text and progress.rows >= int(sys.argv[4])):
        os.kill(os.getpid(), 9)
ooc.convert(*sys.argv[1:3], memory="2GiB", report=die)
"""


@pytest.mark.slow
def test_killed_at_any_instant_it_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    source = write_zarr(tmp_path / "a.zarr", csc_matrix(matrix()), y=np.arange(ROWS))
    target = tmp_path / "b"
    ooc.convert(source, tmp_path / "whole.zarr", memory=MEMORY, report=False)
    for text, rows in (("by rows of X of", 1), (", 5", 1), ("never", 200), ("never", 600)):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(source), str(target), text, str(rows)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )
        assert done.returncode == -signal.SIGKILL
        assert not target.exists()
    ooc.convert(source, target, memory=MEMORY, report=False)
    assert content(target) == content(tmp_path / "whole.zarr")


def parts_of(x: Any, **changes: Any) -> Parts:
    node = {name: changes.get(name, getattr(x, name)) for name in ("data", "indices", "indptr")}
    return Parts("M of there", node, changes.get("shape", x.shape))


@pytest.mark.parametrize("form", [csr_matrix, csc_matrix])
def test_spans_have_few_values_unless_a_row_has_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Callable[..., Any]
) -> None:
    small(monkeypatch)
    monkeypatch.setattr("ooc.conversion.matrices.PIECE_BYTES", 2 * 8 * 20)
    monkeypatch.setattr("ooc.conversion.by_columns.PIECE_BYTES", 2 * 12 * 20)
    x = matrix()
    source: CsrMatrix | CscMatrix = CsrMatrix(parts_of(x))
    if form is csc_matrix:
        parts = parts_of(csc_matrix(x))
        source = CscMatrix(parts, tmp_path / "by-rows", 2**20, lambda text: None)
    source.prepare()
    first, longest = 0, 0
    while first < ROWS:
        stop = source.stop(first)
        rows = source.read(first, stop)
        longest = max(longest, len(rows.data)) if stop - first > 1 else longest
        assert_array_equal(rows.toarray(), x[first:stop].toarray())
        first = stop
    assert 10 < longest <= 20
    # From the midst of a span on, as where another matrix cut it.
    assert_array_equal(
        source.read(12, source.stop(12)).toarray(), x[12 : source.stop(12)].toarray()
    )


def refused(make: Callable[[], Any]) -> str:
    with pytest.raises((DataError, InputError)) as caught:
        made = make()
        made.prepare()
        made.read(0, made.stop(0))
    return str(caught.value)


def test_damaged_matrices_are_refused_by_place(tmp_path: Path) -> None:
    x = csr_matrix(np.float32([[0, 1, 2], [3, 0, 0]]))
    assert refused(lambda: CsrMatrix(parts_of(x, indices=np.array([1, 5, 0])))) == (
        "row 0 of M of there has a value in column 5, but there are columns 0 to 2; correct the "
        "row, or the shape of the matrix"
    )
    assert refused(lambda: CsrMatrix(parts_of(x, indptr=np.array([0, 2])))).startswith(
        "M of there has 2 by its shape, but 2 entries in indptr"
    )
    assert "ends before it begins" in refused(
        lambda: CsrMatrix(parts_of(x, indptr=np.array([0, 4, 3])))
    )
    assert "has 3 values, but 2 places" in refused(
        lambda: CsrMatrix(parts_of(x, indices=np.array([1, 2])))
    )
    assert "are <U1, and no numbers" in refused(
        lambda: CsrMatrix(parts_of(x, data=np.array(["a", "b", "c"])))
    )
    columns = x.tocsc()

    def by_columns(**changes: Any) -> CscMatrix:
        parts = parts_of(columns, **changes)
        return CscMatrix(parts, tmp_path / "by-rows", 2**20, lambda text: None)

    assert refused(lambda: by_columns(indices=np.array([1, 0, 7]))) == (
        "column 2 of M of there has a value in row 7, but there are rows 0 to 1; write the matrix "
        "again"
    )
    assert "its indptr is damaged" in refused(lambda: by_columns(indptr=np.array([0, 2, 1, 3])))


def test_a_disk_without_space_for_putting_values_by_rows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 5})())
    source = CscMatrix(parts_of(csc_matrix(matrix())), tmp_path / "s", 2**20, lambda text: None)
    assert "of scratch space in" in refused(lambda: source)


def test_pieces_are_cut_taken_and_chosen_from_as_matrices_are() -> None:
    x = matrix(50)
    rows = SparseValues(x.data, x.indices, np.diff(x.indptr).astype(np.int64), COLUMNS)
    assert_array_equal(rows.cut(3, 20).toarray(), x[3:20].toarray())
    some = np.array([0, 7, 11, 49])
    assert_array_equal(rows.take(some).toarray(), x[some].toarray())
    chosen = rows.columns(column_places([4, 1, 39], COLUMNS), 3)
    same(csr_matrix(chosen.toarray()), csr_matrix(x[:, [4, 1, 39]].toarray()))
    places = [rows.row_of(place) for place in range(x.nnz)]
    assert_array_equal(places, x.tocoo().coords[0])
    assert rows.lacking() is None
    assert SparseValues(x.data.astype(int), x.indices, rows.counts, COLUMNS).lacking() is None
