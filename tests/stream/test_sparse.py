"""Batches of sparse rows: the stream that dense rows have, in windows that are bounded in bytes."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.errors import TooSmallError

MATRIX = random_matrix(1003, 60)
Y = np.arange(1003)


def test_a_stream_of_sparse_rows_is_exact_and_resumes(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "a.zarr", MATRIX, y=Y)
    options = {"memory": "512MiB", "window": 4, "block_rows": 30, "seed": 5}
    loader = ooc.Loader(ooc.open(path), 64, **options)
    first = [batch for _ in range(2) for batch in loader]
    rows = np.concatenate([batch.rows for batch in first[: len(first) // 2]])
    assert np.array_equal(np.sort(rows), Y) and not np.array_equal(rows, Y)
    for batch in first:
        assert isinstance(batch["X"], scipy.sparse.csr_array) and batch["X"].dtype == np.float32
        assert np.array_equal(batch["X"].toarray(), MATRIX.toarray()[batch.rows])
        assert np.array_equal(batch["y"], batch.rows)
    other = ooc.Loader(ooc.open(path), 64, readers=1, **options)
    for batch in other:
        if batch.step == 6:
            break
    other.load_state_dict(other.state_dict() | {})
    again = ooc.Loader(ooc.open(path), 64, **options)
    again.load_state_dict(other.state_dict())
    for batch, wanted in zip([*again, *again], first[7:], strict=True):
        assert np.array_equal(batch.rows, wanted.rows)
        assert (batch["X"] != wanted["X"]).nnz == 0


def test_sides_of_a_split_hold_each_row_once(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "a.zarr", MATRIX, y=Y)
    sides = ooc.split(ooc.open(path), 0.3, seed=1)
    found = [
        np.concatenate([batch.rows for batch in ooc.Loader(side, 50, memory="512MiB")])
        for side in sides
    ]
    assert np.array_equal(np.sort(np.concatenate(found)), Y)


def test_a_window_is_as_large_as_its_heaviest_blocks(tmp_path: Path) -> None:
    # The first rows are full, the others nearly empty: rows say nothing of bytes.
    counts = np.where(np.arange(4000) < 400, 5000, 2)
    pointers = np.concatenate([[0], np.cumsum(counts)])
    columns = np.concatenate([np.arange(count) for count in counts])
    matrix = scipy.sparse.csr_array(
        (np.ones(len(columns), np.float32), columns, pointers), (4000, 5000)
    )
    path = write_sparse(tmp_path / "a.zarr", matrix, 50_000)
    options = {"batch_size": 8, "block_rows": 100}
    plan = ooc.Loader(ooc.open(path), memory="400MiB", **options).plan
    per_window, held = plan.order.blocks_per_window, plan.terms["slabs"] // plan.slabs
    heavy = 8 * 100 * 5000
    assert per_window > 2, "most blocks are light"
    assert heavy * min(per_window, 4) <= held <= heavy * 4 + 40 * 100 * 60
    for batch in ooc.Loader(ooc.open(path), memory="400MiB", seed=2, **options):
        assert np.array_equal(np.diff(batch["X"].indptr), counts[batch.rows])
    with pytest.raises(TooSmallError, match=r"200 MiB is below the \d+ MiB .*raise the memory"):
        ooc.Loader(ooc.open(path), memory="200MiB", **options)


def test_lanes_of_sparse_rows_in_one_window_are_exact(tmp_path: Path) -> None:
    """Of 34 blocks and 4 lanes."""
    path = write_sparse(tmp_path / "a.zarr", MATRIX, y=Y)
    loader = ooc.Loader(ooc.open(path), 64, memory="512MiB", lanes=4, block_rows=30)
    assert (loader.plan.order.blocks_per_window, loader.plan.order.blocks) == (36, 34)
    rows = []
    for batch in loader:
        assert np.array_equal(batch["X"].toarray(), MATRIX.toarray()[batch.rows])
        rows += batch.rows.tolist()
    assert sorted(rows) == Y.tolist()
