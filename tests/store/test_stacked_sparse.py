"""Sparse rows of several stores are those of SciPy's matrix of all."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import zarr
from datasets import small_windows
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import DataError, InputError
from ooc.store.fingerprint import fingerprint
from ooc.store.stacked_sparse import StackedSparseSpec

LENGTHS = (53, 31, 77, 1)


def write_all(folder: Path, lengths: tuple[int, ...] = LENGTHS) -> scipy.sparse.csr_array:
    """Write a store of each length; return the rows of all."""
    rng, parts = np.random.default_rng(3), []
    for number, rows in enumerate(lengths):
        matrix = random_matrix(rows, 40, 0.2)
        matrix.data[:] = rng.standard_normal(matrix.nnz)
        y = np.asarray(matrix.sum(axis=1)).reshape(-1) > 0
        write_sparse(folder / f"{number}.zarr", matrix, y=y.astype(np.float32))
        parts.append(matrix)
    return scipy.sparse.vstack(parts, format="csr")


def all_rows(dataset: ooc.store.dataset.Dataset, **options: object) -> np.ndarray:
    how = {"memory": "512MiB", "shuffle": "none", **options}
    return np.concatenate([batch["X"].toarray() for batch in ooc.Loader(dataset, 16, **how)])


@pytest.mark.parametrize("most_places", [2**20, 40])
def test_rows_are_those_of_all_matrices(
    tmp_path: Path, most_places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where not every row's place is known."""
    monkeypatch.setattr("ooc.store.sparse.MOST_PLACES", most_places)
    wanted = write_all(tmp_path)
    dataset = ooc.open(str(tmp_path / "*.zarr"))
    spec = dataset.arrays["X"]
    assert isinstance(spec, StackedSparseSpec)
    assert (dataset.rows, spec.nonzeros) == (162, wanted.nnz)
    assert (spec.unit > 1) == (most_places == 40)
    np.testing.assert_array_equal(all_rows(dataset), wanted.toarray())


def test_every_row_comes_once_in_windows_of_all_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_windows(monkeypatch, 6000)
    wanted = write_all(tmp_path).toarray()
    dataset = ooc.open(str(tmp_path / "*.zarr"))
    loader = ooc.Loader(dataset, 16, memory="512MiB")
    assert loader.plan.order.windows > 1 and dataset.stores is not None
    firsts, seen = np.cumsum([0, *LENGTHS]), []
    for batch in loader:
        places = [dataset.stores.locate(row) for row in batch.rows.tolist()]
        rows = [firsts[number] + inside for number, inside in places]
        np.testing.assert_array_equal(batch["X"].toarray(), wanted[rows])
        seen += rows
    assert sorted(seen) == list(range(162))


@pytest.mark.slow
def test_training_and_parts_are_those_of_one_matrix(tmp_path: Path) -> None:
    wanted = write_all(tmp_path, (64, 32, 64))
    y = np.asarray(wanted.sum(axis=1)).reshape(-1) > 0
    write_sparse(tmp_path / "one", wanted, y=y.astype(np.float32))
    both = [ooc.open(str(tmp_path / "*.zarr")), ooc.open(tmp_path / "one")]
    how = {"memory": "512MiB", "shuffle": "none", "block_rows": 32}
    runs = [
        ooc.Trainer(ooc.models.Logistic(), ooc.optim.adagrad(0.1), 16, **how).fit(each, epochs=2)
        for each in both
    ]
    np.testing.assert_array_equal(runs[0].parameters, runs[1].parameters)
    _, later = ooc.split(both[0], 0.25, ordered=True)
    np.testing.assert_array_equal(all_rows(later), wanted.toarray()[120:])


@pytest.mark.slow
def test_they_are_transformed_as_one_matrix(tmp_path: Path) -> None:
    wanted = write_all(tmp_path)
    write_sparse(tmp_path / "one", wanted)
    for text in ("hash:5", "hash-pairs:6"):
        one, both = (
            ooc.open(path, target=False, transform=text)
            for path in (str(tmp_path / "one"), str(tmp_path / "*.zarr"))
        )
        np.testing.assert_array_equal(all_rows(both), all_rows(one))


def test_what_is_wrong_is_named_by_its_store(tmp_path: Path) -> None:
    write_all(tmp_path)
    group = zarr.open_group(tmp_path / "1.zarr")
    group["X/indices"][5] = 99
    row = int(np.searchsorted(group["X/indptr"][:], 5, "right")) - 1
    with pytest.raises(DataError, match=rf"row {row} of X in .*1\.zarr has a value in column 99"):
        all_rows(ooc.open(str(tmp_path / "*.zarr")))
    write_sparse(tmp_path / "9.zarr", random_matrix(20, 41, 0.2), y=np.zeros(20, np.float32))
    with pytest.raises(InputError, match=r"has 40 columns in .*0\.zarr and 41 in .*9\.zarr"):
        ooc.open(str(tmp_path / "*.zarr"))


def test_chunks_that_are_skipped_are_those_of_their_store(tmp_path: Path) -> None:
    wanted = write_all(tmp_path).toarray()
    dataset = ooc.open(str(tmp_path / "*.zarr"))
    assert set(fingerprint(dataset, ["X"])["files"]) == {
        f"store {number}: X/{part}" for number in range(4) for part in ("data", "indices", "indptr")
    }
    chunk = next(
        each for each in sorted((tmp_path / "2.zarr" / "X" / "data").rglob("0")) if each.is_file()
    )
    chunk.write_bytes(b"no chunk")
    found = all_rows(dataset, on_bad_chunk="skip", block_rows=8)
    # Some rows have no values, and are all alike.
    found, full = found[found.any(axis=1)], wanted[wanted.any(axis=1)]
    kept = [row for row in full if any((row == each).all() for each in found)]
    assert 0 < len(found) < len(full)
    np.testing.assert_array_equal(found, kept)
