"""Advice on windows: the smallest that is good enough, and a budget in which it fits."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

from ooc.store.dataset import Dataset
from ooc.stream.block_statistics import block_statistics
from ooc.stream.loader import Loader
from ooc.stream.mixing_theory import inflation
from ooc.stream.plan import MIB, RESERVED_BYTES
from ooc.stream.window_advice import advise, measured_trade


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let windows of a small dataset be small, too."""
    monkeypatch.setattr("ooc.stream.window_advice.SMALLEST_WINDOW", 0)


@pytest.fixture
def sorted_labels(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20_000, 64)).astype(np.float32)
    return write_dataset(
        tmp_path / "a.zarr", chunk_rows=10, X=x, y=np.arange(20_000, dtype=np.int64) // 10_000
    )


@pytest.fixture
def in_random_order(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20_000, 64)).astype(np.float32)
    return write_dataset(tmp_path / "b.zarr", chunk_rows=10, X=x, y=rng.integers(0, 2, 20_000))


@pytest.mark.slow
def test_rows_in_random_order_need_the_smallest_window(in_random_order: Dataset) -> None:
    loader = Loader(in_random_order, 64, memory="1GiB", window="auto", block_rows=10)
    assert 64 <= loader.plan.order.blocks_per_window < 200
    assert advise(in_random_order, loader.plan).enough


def test_a_window_is_not_so_small_as_to_be_slow(
    in_random_order: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc.stream.window_advice.SMALLEST_WINDOW", 2**20)
    plan = Loader(in_random_order, 64, memory="1GiB", window="auto", block_rows=10).plan
    assert 0.7 * 2**20 < plan.terms["slabs"] / plan.slabs <= 2**20 * 1.01


def test_sorted_rows_need_a_large_one_and_get_it(sorted_labels: Dataset) -> None:
    loader = Loader(sorted_labels, 64, memory="1GiB", window="auto", block_rows=10)
    order = loader.plan.order
    advice = advise(sorted_labels, loader.plan)
    assert advice.worst.name == "y"
    assert order.blocks_per_window == advice.needed_blocks > 500
    assert advice.enough
    smaller = -(-order.blocks // (order.windows + 1))
    assert inflation(1.0, 20_000, 10, smaller, 64) > 1.05


def test_where_a_window_does_not_fit_the_named_memory_is_enough(
    sorted_labels: Dataset,
) -> None:
    small = Loader(
        sorted_labels, 64, memory=RESERVED_BYTES + 12 * MIB, window="auto", block_rows=10
    )
    advice = advise(sorted_labels, small.plan)
    assert not advice.enough
    assert small.plan.order.blocks_per_window < advice.needed_blocks
    enough = Loader(sorted_labels, 64, memory=advice.memory, window="auto", block_rows=10)
    assert enough.plan.order.blocks_per_window == advice.needed_blocks
    assert advice.chunk_rows is not None
    assert advice.chunk_rows < 10


@pytest.mark.slow
def test_chunks_that_are_named_are_the_longest_that_mix_well(sorted_labels: Dataset) -> None:
    """In a window of as many rows; all of the labels' variance is between blocks."""
    for window in (40, 150, 600):
        plan = Loader(sorted_labels, 64, memory="1GiB", window=window, block_rows=10).plan
        rows = 10 * plan.order.blocks_per_window
        for limit in (1.02, 1.1, 1.5):
            longest = [
                each
                for each in (10, 5, 2, 1)
                if inflation(1.0, 20_000, each, rows // each, 64) <= limit
            ]
            found = advise(sorted_labels, plan, limit).chunk_rows
            assert found == (longest[0] if longest else None)


def test_a_share_that_is_estimated_is_taken_for_a_little_more(in_random_order: Dataset) -> None:
    plan = Loader(in_random_order, 64, memory="1GiB", window="auto", block_rows=10).plan
    advice = advise(in_random_order, plan)
    assert advice.worst.error > 0
    numbers = (20_000, 10, plan.order.blocks_per_window, 64)
    assert advice.inflation > inflation(advice.worst.between_share, *numbers)


def test_the_trade_is_measured(sorted_labels: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ooc.stream.window_advice.MEASURED_SECONDS", 0.001)
    plan = Loader(sorted_labels, 64, memory="512MiB", block_rows=10).plan
    choices = measured_trade(sorted_labels, plan, advise(sorted_labels, plan))
    assert len(choices) >= 3
    inflations = [choice.inflation for choice in choices]
    assert inflations == sorted(inflations, reverse=True)
    assert all(choice.bytes_per_second > 0 for choice in choices)


def test_what_is_missing_does_not_count(tmp_path: Path) -> None:
    """Moments of the values that are there are NumPy's; blocks weigh what they have of them."""
    rng, blocks = np.random.default_rng(3), 40
    x = rng.standard_normal((blocks * 10, 2)) + np.repeat(np.arange(blocks), 10)[:, None] / 9
    y = np.where(rng.random(len(x)) < 0.1, np.nan, x[:, 0])
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:10, 1] = np.nan
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=10, X=x, y=y)
    found = block_statistics(dataset, 10, None)
    assert found.label is not None
    for column, values in zip((*found.features, found.label), (*x.T, y), strict=True):
        there = [block[~np.isnan(block)] for block in values.reshape(blocks, 10)]
        between = sum(len(b) * (b.mean() - np.nanmean(values)) ** 2 for b in there if len(b))
        expected = between / np.count_nonzero(~np.isnan(values)) / np.nanvar(values)
        assert column.between_share == pytest.approx(expected)
        assert column.variance == pytest.approx(np.nanvar(values))
    smaller = Loader(dataset, 4, memory="1GiB", block_rows=10, missing_values="drop", window="auto")
    assert advise(dataset, smaller.plan).enough
