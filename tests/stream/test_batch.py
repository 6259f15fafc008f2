"""How batches are cut from windows, as copies and in place."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from datasets import small_windows, write_dataset
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.core.random_keys import Purpose, key
from ooc.store.sparse_rows import SparseRows
from ooc.stream.batch import BatchAssembler
from ooc.stream.draws import Draws
from ooc.stream.order import Order
from ooc.stream.window import Window


@pytest.fixture(autouse=True)
def several_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    small_windows(monkeypatch, 3 * 2**10)


def windows_at(*places: list[int], start: int = 0) -> list[Window]:
    """Return windows of one array of 10 rows in blocks of 5, at rows 20 to 24 and 40 to 44."""
    return [
        Window(
            {"X": 100.0 + np.arange(10)[:, None]},
            ("X", None, None),
            np.array(each, np.int32),
            start if number == 0 else 0,
            np.array([20, 40]),
            5,
            epoch=0,
            index=number,
            last=number == len(places) - 1,
            weights=1.0 + np.arange(10),
        )
        for number, each in enumerate(places)
    ]


def assembler(batch_size: int, step: int = 30, in_place: bool = False) -> BatchAssembler:
    draws = Draws("weight", "w", np.array([0.0, 60]), 20)
    order = Order(100, 5, 2, seed=6, draws=draws)
    dataset: Any = SimpleNamespace(roles=("X", None, None), features="X", arrays={}, stores=None)
    return BatchAssembler(dataset, order, batch_size, step, in_place)


def test_batches_are_cut_from_one_window_or_the_next() -> None:
    """With what their rows weigh: W = 60 over N = 20."""
    cut, found, ended = assembler(4), [], []
    for window in windows_at([9, 0, 3, 5, 7, 1], [2, 8, 4], start=1):
        for batch in cut.add(window):
            found.append((batch.step, batch["X"][:, 0].tolist(), batch.ends_epoch))
            places = batch["X"][:, 0].astype(int) - 100
            assert batch.rows.tolist() == [20 + p if p < 5 else 35 + p for p in places]
            assert batch.importance == pytest.approx(3 / (1 + places))
            assert batch.seed == key(6, Purpose.BATCH, index=batch.step)
            assert batch.features is batch["X"]
            ended.append(cut.used_up)
    assert found == [
        (30, [100, 103, 105, 107], False),
        (31, [101, 102, 108, 104], True),
    ]
    assert ended == [False, True]


@pytest.mark.parametrize(("first_step", "steps"), [(30, [30, 31]), (0, [0, 1]), (7, [7, 8])])
def test_the_last_batch_has_what_is_left_though_the_last_window_is_empty(
    first_step: int, steps: list[int]
) -> None:
    cut = assembler(3, first_step)
    assert cut.used_up
    first, last = windows_at([1, 2, 3, 4], [])
    batches = [*cut.add(first), *cut.add(last)]
    assert [batch.step for batch in batches] == steps
    assert [batch.rows.tolist() for batch in batches] == [[21, 22, 23], [24]]
    assert [batch.ends_epoch for batch in batches] == [False, True]


def test_a_window_is_used_up_where_its_last_rows_wait_for_the_next() -> None:
    cut = assembler(4)
    first, last = windows_at([1, 2, 3, 4, 5, 6], [7, 8])
    batches = cut.add(first)
    next(batches)
    assert not cut.used_up
    assert list(batches) == []
    assert cut.used_up
    (batch,) = cut.add(last)
    assert batch.ends_epoch
    assert batch["X"][:, 0].tolist() == [105, 106, 107, 108]


def test_in_place_rows_that_follow_each_other_are_the_windows_own() -> None:
    """Those of a batch that waits for the next window are copies: they outlive theirs."""
    cut = assembler(3, in_place=True)
    first, last = windows_at([1, 2, 3, 6, 8, 9, 4], [5, 7, 8])
    one, other = cut.add(first)
    whole = first.arrays["X"]
    assert np.shares_memory(one["X"], whole) and not np.shares_memory(other["X"], whole)
    assert [each["X"][:, 0].tolist() for each in (one, other)] == [[101, 102, 103], [106, 108, 109]]
    whole[:] = -1.0
    third, fourth = cut.add(last)
    assert third["X"][:, 0].tolist() == [104, 105, 107]
    assert fourth["X"][:, 0].tolist() == [108] and np.shares_memory(fourth["X"], last.arrays["X"])


@pytest.mark.parametrize("shuffle", ["none", "blocks"])
def test_batches_in_place_are_those_that_are_copied(
    tmp_path: Path, rng: np.random.Generator, shuffle: str
) -> None:
    x = rng.standard_normal((517, 5)).astype(np.float32)
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=40, X=x, y=np.arange(517))
    part = ooc.split(dataset, 0.3)[0]
    for source in (dataset, part):
        loaders = [ooc.Loader(source, 16, memory="512MiB", shuffle=shuffle) for _ in range(2)]
        for one, other in zip(loaders[0].batches(in_place=True), loaders[1], strict=True):
            assert np.array_equal(one.rows, other.rows) and one.seed == other.seed
            assert np.array_equal(one["X"], x[one.rows]) and np.array_equal(one["y"], one.rows)
        assert loaders[0].state_dict() == loaders[1].state_dict()


def test_sparse_rows_in_place_become_matrices_where_they_are_asked_for(tmp_path: Path) -> None:
    matrix = random_matrix(503, 40)
    dataset = ooc.open(write_sparse(tmp_path / "a.zarr", matrix, y=np.arange(503)))
    for source in (dataset, *ooc.split(dataset, 0.3)):
        loader = ooc.Loader(source, 8, memory="512MiB", shuffle="none", window=2, block_rows=30)
        kinds = set()
        for batch in loader.batches(in_place=True):
            kinds.add(type(batch.arrays["X"]))
            for found in (batch["X"], batch.features):
                assert isinstance(found, scipy.sparse.csr_array)
                assert np.array_equal(found.toarray(), matrix.toarray()[batch.rows])
        assert SparseRows in kinds
