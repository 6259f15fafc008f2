"""Closed forms against enumeration and simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooc.stream.mixing_theory import (
    PairCount,
    inflation,
    pairs_expected,
    pairs_in_window,
    smallest_window,
)
from ooc.stream.order import Order


def test_inflation_of_a_batch_mean_is_that_of_a_simulation() -> None:
    """For sorted data, over thousands of epochs."""
    rows, block_rows, window, batch = 120, 4, 6, 12
    x = np.sort(np.random.default_rng(0).standard_normal(rows))
    blocks = x.reshape(-1, block_rows)
    share = float(blocks.mean(axis=1).var() / x.var())
    rng, means = np.random.default_rng(1), []
    for _ in range(4000):
        order = rng.permutation(rows // block_rows).reshape(-1, window)
        for chosen in order:
            values = rng.permutation(blocks[chosen].reshape(-1))
            means.append(values.reshape(-1, batch).mean(axis=1))
    full = x.var() / batch * (rows - batch) / (rows - 1)
    observed = np.mean((np.concatenate(means) - x.mean()) ** 2) / full
    predicted = inflation(share, rows, block_rows, window, batch)
    assert predicted > 1.5
    assert abs(observed / predicted - 1) < 0.03


@given(
    share=st.floats(0, 1),
    blocks=st.integers(2, 2000),
    block_rows=st.integers(1, 500),
    batch=st.integers(2, 500),
)
def test_a_window_that_holds_everything_is_a_full_shuffle(
    share: float, blocks: int, block_rows: int, batch: int
) -> None:
    assert inflation(share, blocks * block_rows, block_rows, blocks, batch) == 1.0


@given(
    share=st.floats(0.01, 1),
    blocks=st.integers(4, 5000),
    block_rows=st.integers(2, 500),
    limit=st.floats(1.01, 3),
)
def test_the_smallest_window_is_the_smallest(
    share: float, blocks: int, block_rows: int, limit: float
) -> None:
    rows, batch = blocks * block_rows, min(64, blocks)
    n = smallest_window(share, rows, block_rows, batch, limit)
    assert inflation(share, rows, block_rows, n, batch) <= limit
    assert n == 2 or inflation(share, rows, block_rows, n - 1, batch) > limit


@pytest.mark.parametrize(
    ("blocks", "batches"),
    [((2, 2), (2, 2)), ((3, 2, 1), (4, 2)), ((1, 1, 1), (3,)), ((5,), (2, 3))],
)
def test_moments_of_pairs_are_those_of_all_permutations(
    blocks: tuple[int, ...], batches: tuple[int, ...]
) -> None:
    block_of = np.repeat(np.arange(len(blocks)), blocks)
    batch_of = np.repeat(np.arange(len(batches)), batches)
    counts = []
    for order in itertools.permutations(range(len(block_of))):
        moved = block_of[list(order)]
        counts.append(
            sum(
                moved[i] == moved[j] and batch_of[i] == batch_of[j]
                for i, j in itertools.combinations(range(len(moved)), 2)
            )
        )
    found = pairs_in_window(blocks, batches)
    assert found.mean == pytest.approx(np.mean(counts))
    assert found.deviation == pytest.approx(np.std(counts), abs=1e-9)


def test_same_block_pairs_of_sixteen_million_rows() -> None:
    """16,000,057 rows, blocks of 400, 400 of them to a window, batches of 400."""
    rows, order = 16_000_057, Order(16_000_057, 400, 400)
    blocks = [400] * 40_000 + [57]
    assert pairs_expected([blocks], 400).mean == pytest.approx(79_600, rel=1e-4)
    windows = []
    for window in range(order.windows):
        chosen = order.window_blocks(0, window)
        windows.append([400 if block < 40_000 else 57 for block in chosen])
    found = pairs_expected(windows, 400)
    assert found.mean == pytest.approx(8.02e6, rel=0.01)
    assert found.mean / 79_600 == pytest.approx((rows - 1) / (400 * 400 - 1), rel=0.02)


@pytest.mark.parametrize(
    ("deviation", "observed", "score"),
    [(2.0, 7, 2.0), (2.0, 2, -0.5), (0.0, 3, 0.0), (0.0, 4, np.inf), (0.0, 2, -np.inf)],
)
def test_a_count_is_so_many_deviations_above_its_mean(
    deviation: float, observed: float, score: float
) -> None:
    assert PairCount(3.0, deviation).score(observed) == score


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=5), min_size=1, max_size=4),
    st.integers(1, 15),
)
def test_pairs_of_an_epoch_are_those_of_its_windows(windows: list[list[int]], size: int) -> None:
    """A batch that begins in one window ends in the next."""
    ends = np.cumsum([0, *map(sum, windows)])
    mean = variance = 0.0
    for blocks, first, stop in zip(windows, ends[:-1], ends[1:], strict=True):
        batches = np.bincount(np.arange(first, stop) // size)
        counted = pairs_in_window(blocks, batches[batches > 0].tolist())
        mean, variance = mean + counted.mean, variance + counted.deviation**2
    found = pairs_expected(windows, size)
    assert found.mean == pytest.approx(mean)
    assert found.deviation == pytest.approx(np.sqrt(variance))


@pytest.mark.parametrize(("block", "window", "batch"), [(3, 2, 4), (5, 4, 2), (2, 5, 7), (1, 4, 3)])
def test_inflation_is_that_of_all_pairs_of_rows(block: int, window: int, batch: int) -> None:
    """Two rows of a batch are of one block as often as any two of a window's rows are."""
    x = np.random.default_rng(0).standard_normal(20 * block) + np.arange(20 * block) / 30
    x -= x.mean()
    products, block_of = np.outer(x, x), np.arange(20 * block) // block
    same = (block_of[:, None] == block_of) & ~np.eye(len(x), dtype=bool)
    apart = products[block_of[:, None] != block_of].mean()
    together = products[same].mean() if block > 1 else 0.0
    often = (block - 1) / (window * block - 1)
    shared = often * together + (1 - often) * apart
    variance = x.var() / batch + (batch - 1) / batch * shared
    full = x.var() / batch * (len(x) - batch) / (len(x) - 1)
    share = float(x.reshape(-1, block).mean(axis=1).var() / x.var())
    assert inflation(share, len(x), block, window, batch) == pytest.approx(variance / full)
