"""Rows that are transformed as they are read: expected values are NumPy's and plain Python's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import zarr
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import DataError, InputError
from ooc.core.random_keys import splitmix
from ooc.shuffle import exact
from ooc.store.chunks import open_reader, scratch_bytes
from ooc.store.sparse_rows import empty_rows
from ooc.store.transforms import transformed

GOLDEN, ALL = 0x9E3779B97F4A7C15, 2**64 - 1


def counts_of(rows: int = 300, columns: int = 40) -> Any:
    """Return counts in CSR, with a row without any."""
    matrix = random_matrix(rows, columns, 0.2)
    matrix.data = np.float32(np.random.default_rng(1).poisson(3, matrix.nnz) + 1)
    matrix.data[matrix.indptr[7] : matrix.indptr[8]] = 0
    return matrix


def read(dataset: Any, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Return rows as dense ones, by the dataset's own reader."""
    spec = dataset.arrays[dataset.features]
    stop = spec.shape[0] if stop is None else stop
    rows = empty_rows(stop - start, spec.most_nonzeros(stop - start), spec.shape[1], spec.dtype)
    rows.place(np.zeros(1, np.int64), np.zeros(1, np.int64))
    open_reader(dataset, spec.name).read_runs([(start, stop)], rows)
    return np.asarray(rows.take(np.arange(stop - start)).toarray())


def mixed(value: int) -> int:
    """Return SplitMix64's output function, by Python's own integers."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & ALL
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & ALL
    return value ^ (value >> 31)


def hashed(keys: list[int], values: list[float], bits: int, pairs: bool) -> np.ndarray:
    """Return a row's hashed columns, one at a time."""
    out = np.zeros(2**bits)
    found = list(zip(keys, values, strict=True))
    if pairs:
        for i in range(len(keys)):
            for j in range(i):
                low, high = sorted((keys[i], keys[j]))
                key = mixed((low * GOLDEN + high) & ALL)
                found.append((key, values[i] * values[j]))
    for key, value in found:
        out[key & (2**bits - 1)] += -value if key >> 63 else value
    return out


def test_the_mixer_is_that_of_the_package() -> None:
    assert all(mixed(x) == splitmix(x) for x in (1, GOLDEN, ALL - 3))


def test_counts_of_any_size_become_logarithms(tmp_path: Path) -> None:
    """Small and whole, large, and neither; in rows of few counts and of many."""
    matrix = random_matrix(50, 200, 0.4)
    rng = np.random.default_rng(2)
    matrix.data = rng.choice(np.float32([0, 1, 2, 31, 32, 33, 0.5, 31.5, 1e9, 3e38]), matrix.nnz)
    matrix.data[matrix.indptr[3] : matrix.indptr[4]] = 2
    matrix.data[matrix.indptr[3] + 4] = np.nan
    path = write_sparse(tmp_path / "a.zarr", matrix)
    dense = matrix.toarray().astype(np.float64)
    total = dense.sum(1, keepdims=True)
    wanted = np.log1p(dense * (1e4 / np.where(total == 0, 1e4, total)))
    wanted[3] = np.where(dense[3] == 0, 0, np.nan)
    found = read(ooc.open(path, transform="log-normalise"))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-30)


def test_counts_become_logarithms_of_shares(tmp_path: Path) -> None:
    matrix = counts_of()
    path = write_sparse(tmp_path / "a.zarr", matrix)
    dense = matrix.toarray().astype(np.float64)
    totals = dense.sum(axis=1, keepdims=True)
    totals[totals == 0] = 1
    for text, total in (("log-normalise", 1e4), ("log-normalise:50", 50.0)):
        found = read(ooc.open(path, transform=text))
        np.testing.assert_allclose(found, np.log1p(dense / totals * total), rtol=1e-6)
    part = read(ooc.open(path, transform="log-normalise"), 100, 200)
    np.testing.assert_allclose(part, np.log1p(dense / totals * 1e4)[100:200], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [False, True])
def test_columns_of_sparse_rows_are_hashed(tmp_path: Path, pairs: bool) -> None:
    matrix = random_matrix(60, 500, 0.02)
    path = write_sparse(tmp_path / "a.zarr", matrix)
    dataset = ooc.open(path, transform="hash-pairs:6" if pairs else "hash:6")
    assert dataset.row_shape == (64,)
    found = read(dataset)
    for row in range(60):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        keys = [mixed((int(column) + 1) * GOLDEN & ALL) for column in matrix.indices[span]]
        wanted = hashed(keys, matrix.data[span].tolist(), 6, pairs)
        np.testing.assert_allclose(found[row], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float32])
@pytest.mark.parametrize("pairs", [False, True])
def test_category_codes_are_hashed_by_column(tmp_path: Path, dtype: Any, pairs: bool) -> None:
    codes = np.random.default_rng(0).integers(0, 100, (50, 5)).astype(dtype)
    if np.dtype(dtype).kind == "i":
        codes[3, 2] = -1
    zarr.create_group(tmp_path / "a.zarr").create_array("X", data=codes, chunks=(16, 5))
    name = "hash-pairs" if pairs else "hash"
    found = read(ooc.open(tmp_path / "a.zarr", transform=f"{name}:7"))
    for row in range(50):
        keys = [
            mixed(mixed((j + 1) * GOLDEN & ALL) + int(codes[row, j]) * GOLDEN & ALL)
            for j in range(5)
        ]
        np.testing.assert_array_equal(found[row], hashed(keys, [1.0] * 5, 7, pairs))


def test_transforms_follow_each_other(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "a.zarr", counts_of())
    both = ooc.open(path, transform="log-normalise:10,hash-pairs:9")
    assert both.transform == "log-normalise:10,hash-pairs:9"
    logs = ooc.open(path, transform="log-normalise:10")
    again = write_sparse(tmp_path / "b.zarr", scipy.sparse.csr_array(read(logs)))
    one = read(ooc.open(again, transform="hash-pairs:9"))
    np.testing.assert_allclose(read(both), one, rtol=1e-5, atol=1e-6)


def test_rows_have_as_many_nonzeros_as_the_plan_counts(tmp_path: Path) -> None:
    matrix = random_matrix(120, 300, 0.05)
    path = write_sparse(tmp_path / "a.zarr", matrix)
    plain, pairs = ooc.open(path), ooc.open(path, transform="hash-pairs:20")
    counts = np.diff(matrix.indptr)
    spec: Any = pairs.arrays["X"]
    assert spec.nonzeros == np.sum(counts * (counts + 1) // 2)
    assert spec.longest == counts.max() * (counts.max() + 1) // 2
    assert scratch_bytes(spec, 60) > scratch_bytes(plain.arrays["X"], 60)


def test_dense_codes_need_no_table_of_places(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr").create_array("X", data=np.zeros((50, 4), np.int32))
    spec: Any = ooc.open(tmp_path / "a.zarr", transform="hash-pairs:5").arrays["X"]
    assert (spec.each, spec.nonzeros, spec.place_of(50), spec.place_of(7)) == (10, 500, 500, 70)
    assert spec.heaviest(20).tolist() == [200, 400, 500]


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hsh", "transform"),
        ("hash:x", "no number"),
        ("hash:0", "from 1 to 30"),
        ("hash:31", "from 1 to 30"),
        ("hash:2.5", "from 1 to 30"),
        ("log-normalise:0", "positive total"),
        ("log-normalise:nan", "positive total"),
    ],
)
def test_what_is_no_transform_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = write_sparse(tmp_path / "a.zarr", random_matrix(20, 5, 0.5))
    with pytest.raises(InputError, match=why):
        ooc.open(path, transform=text)


def test_dense_rows_are_not_normalised(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr").create_array("X", data=np.zeros((5, 4), np.float32))
    with pytest.raises(InputError, match=r"log-normalise does not go with X .* dense"):
        ooc.open(tmp_path / "a.zarr", transform="log-normalise")


def test_rows_of_images_are_no_codes(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr").create_array("X", data=np.zeros((5, 4, 4), np.uint8))
    with pytest.raises(InputError, match="two axes"):
        ooc.open(tmp_path / "a.zarr", transform="hash")


def test_another_transform_of_the_same_rows_is_refused(tmp_path: Path) -> None:
    dataset = ooc.open(write_sparse(tmp_path / "a.zarr", random_matrix(20, 5, 0.5)))
    hashed_rows = transformed(dataset, "hash:8")
    assert transformed(hashed_rows, "hash:8") is hashed_rows
    for text in ("hash:9", ""):
        with pytest.raises(InputError, match="is opened with transform='hash:8'"):
            transformed(hashed_rows, text)


def test_a_row_that_cannot_be_transformed_is_named(tmp_path: Path) -> None:
    matrix = counts_of()
    matrix.data[matrix.indptr[42]] = -1
    path = write_sparse(tmp_path / "a.zarr", matrix)
    with pytest.raises(DataError, match=r"row 42 of X .* count below 0"):
        read(ooc.open(path, transform="log-normalise"), 10)
    for value in (0.5, np.nan, np.inf, 1e300):
        codes = np.zeros((9, 3))
        codes[4, 1] = value
        group = zarr.create_group(tmp_path / "b.zarr", overwrite=True)
        group.create_array("X", data=codes)
        with pytest.raises(DataError, match=r"row 4 of X .* no category code"):
            read(ooc.open(tmp_path / "b.zarr", transform="hash"))


@pytest.mark.slow
@pytest.mark.parametrize("text", ["log-normalise", "hash:8", "hash-pairs:8"])
def test_rows_are_the_same_where_few_places_are_known(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_sparse(tmp_path / "a.zarr", counts_of())
    wanted = read(ooc.open(path, transform=text))
    monkeypatch.setattr("ooc.store.sparse.MOST_PLACES", 50)
    dataset = ooc.open(path, transform=text)
    assert dataset.arrays["X"].unit == 8  # type: ignore[attr-defined]
    assert np.array_equal(read(dataset), wanted)
    loader = ooc.Loader(dataset, 300, memory="512MiB", block_rows=16, shuffle="none")
    (batch,) = list(loader)
    assert np.array_equal(batch["X"].toarray(), wanted)


def test_a_shuffled_copy_keeps_rows_as_they_are_stored(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "a.zarr", counts_of(), y=np.zeros(300))
    with pytest.raises(InputError, match="opened with transform='hash:8'"):
        exact(ooc.open(path, transform="hash:8"), tmp_path / "b.zarr", "512MiB")


def test_codes_of_another_number_of_columns_are_refused(tmp_path: Path) -> None:
    """Hashed rows are all of one shape, whichever columns they are made of."""
    group = zarr.create_group(tmp_path / "a.zarr")
    group.create_array("X", data=np.ones((9, 3), np.int64))
    group.create_array("wide", data=np.ones((9, 4), np.int64))
    dataset = ooc.open(tmp_path / "a.zarr", transform="hash:6")
    assert dataset.transform == "hash:6:3"
    again = transformed(ooc.open(tmp_path / "a.zarr"), dataset.transform)
    assert np.array_equal(read(again), read(dataset))
    assert transformed(dataset, "hash:6") is dataset is transformed(dataset, "hash:6:3")
    wide = ooc.open(tmp_path / "a.zarr", features="wide")
    with pytest.raises(InputError, match=r"hash of wide of .* is for rows of 3 columns .* have 4"):
        transformed(wide, dataset.transform)
    with pytest.raises(InputError, match="opened with transform='hash:6:4', and 'hash:6:3'"):
        transformed(transformed(wide, "hash:6"), dataset.transform)
    sparse = ooc.open(write_sparse(tmp_path / "b.zarr", random_matrix(20, 3, 0.5)))
    with pytest.raises(InputError, match="category codes, and these are sparse"):
        transformed(sparse, dataset.transform)
    with pytest.raises(InputError, match="'x' is no number"):
        transformed(wide, "hash:6:x")
