"""Windows of few sparse blocks mix as theory says, and are of more where targets ask for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sparse_rows import random_matrix, write_sparse

import ooc
from ooc.stream.block_sizes import FEWEST_SPARSE_BLOCKS
from ooc.stream.mixing_theory import inflation
from ooc.stream.order import Order
from ooc.stream.window_advice import LIMIT, advise

ROWS, BLOCK, BATCH = 4800, 40, 24
MEMORY = "1GiB"


def drifting(path: Path, share: float) -> tuple[Any, np.ndarray]:
    """Write rows whose targets drift, so that blocks differ by about this share of the variance."""
    rng = np.random.default_rng(3)
    drift = np.sqrt(2 * share) * np.sin(np.linspace(0, 6 * np.pi, ROWS))
    y = drift + np.sqrt(1 - share) * rng.standard_normal(ROWS)
    return ooc.open(write_sparse(path / "a.zarr", random_matrix(ROWS, 40, 0.05), 997, y=y)), y


def rows_of(order: Order) -> np.ndarray:
    """Return the rows of an epoch in their order."""
    found = []
    for window in range(order.windows):
        blocks = order.window_blocks(0, window)
        places = np.empty(order.rows_in(blocks), np.int32)
        order.permute_rows(0, window, places)
        found.append(blocks[places // BLOCK] * BLOCK + places % BLOCK)
    return np.concatenate(found)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6])
def test_batch_means_vary_as_much_as_the_closed_form_says(tmp_path: Path, share: float) -> None:
    (dataset, targets), window = drifting(tmp_path, share), FEWEST_SPARSE_BLOCKS
    loader = ooc.Loader(dataset, BATCH, memory=MEMORY, block_rows=BLOCK, window=window, seed=0)
    order = loader.plan.order
    assert order.blocks_per_window == window
    np.testing.assert_array_equal(rows_of(order), np.concatenate([each.rows for each in loader]))
    batches = [rows_of(replace(order, seed=seed)).reshape(-1, BATCH) for seed in range(60)]
    means = targets[np.concatenate(batches)].mean(axis=1)
    blocks = targets.reshape(-1, BLOCK)
    between = np.var(blocks.mean(axis=1)) / np.var(targets)
    full = np.var(targets) / BATCH * (ROWS - BATCH) / (ROWS - 1)
    measured = np.mean((means - targets.mean()) ** 2) / full
    predicted = inflation(between, ROWS, BLOCK, window, BATCH)
    # 12,000 batches in 600 windows: the variance is known to some percent.
    assert measured == pytest.approx(predicted, rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(("share", "is_enough"), [(0.0, True), (0.6, False)])
def test_windows_are_of_more_blocks_where_targets_drift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, is_enough: bool
) -> None:
    """The fewest blocks are those of rows in random order, which was measured to be enough."""
    monkeypatch.setattr("ooc.stream.window_advice.SMALLEST_SPARSE_WINDOW", 0)
    dataset, targets = drifting(tmp_path, share)
    loader = ooc.Loader(dataset, BATCH, memory=MEMORY, block_rows=BLOCK)
    found, blocks = loader.plan.order.blocks_per_window, targets.reshape(-1, BLOCK)
    assert (found == FEWEST_SPARSE_BLOCKS) == is_enough
    between = np.var(blocks.mean(axis=1)) / np.var(targets)
    assert inflation(between, ROWS, BLOCK, found, BATCH) <= LIMIT + 0.02
    fit = ooc.Loader(dataset, BATCH, memory=MEMORY, block_rows=BLOCK, window="fit").plan
    advice = advise(dataset, fit)
    assert advice.of_targets and advice.worst.name.startswith("y")
    assert advice.needed_blocks == found
