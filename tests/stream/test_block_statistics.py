"""Shares of variance between blocks: of as many columns as fit, each as NumPy finds it."""

from pathlib import Path

import numpy as np
import pytest
from datasets import write_dataset

from ooc.stream.block_statistics import block_statistics

BLOCK, BLOCKS, VALUES = 20, 30, 900


@pytest.mark.parametrize("most_bytes", [2**15, 2**25])
def test_columns_that_do_not_fit_are_drawn_and_judged_as_by_numpy(
    tmp_path: Path, rng: np.random.Generator, most_bytes: int
) -> None:
    drift = np.repeat(rng.standard_normal((BLOCKS, VALUES)), BLOCK, axis=0)
    x = (rng.standard_normal(drift.shape) + rng.random(VALUES) * drift).astype(np.float32)
    y = rng.integers(0, 3, len(x))
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=BLOCK, X=x, y=y)
    found = block_statistics(dataset, BLOCK, None, most_bytes=most_bytes)
    blocks = x.reshape(BLOCKS, BLOCK, VALUES).astype(np.float64)
    shares = blocks.mean(axis=1).var(axis=0) / x.astype(np.float64).var(axis=0)
    places = found.features.places
    assert len(places) == (VALUES if most_bytes > 2**20 else 2**15 // 128)
    assert (np.diff(places) > 0).all()
    np.testing.assert_allclose(found.features.numbers[2], shares[places], rtol=1e-9)
    worst = found.features.worst()
    assert worst.name == f"X[{places[np.argmax(shares[places])]}]"
    of_classes = (y[:, None] == np.arange(3)).astype(np.float64)
    between = of_classes.reshape(BLOCKS, BLOCK, 3).mean(axis=1).var(axis=0).sum()
    assert found.label is not None
    assert found.label.between_share == pytest.approx(between / of_classes.var(axis=0).sum())
    assert found.classes == (0.0, 1.0)


def test_a_sample_tells_the_variance_of_all_blocks_without_bias(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    """Rows of a block are equal: in the mean over many samples of 3 of 8 it is that of all."""
    x = np.repeat(rng.standard_normal(8), 2)[:, None]
    dataset = write_dataset(tmp_path / "a.zarr", chunk_rows=2, X=x)
    found = [block_statistics(dataset, 2, 3, seed=seed).features[0].variance for seed in range(200)]
    assert np.mean(found) == pytest.approx(x.var(), rel=0.1)


@pytest.mark.parametrize("count", [None, 11, 6, 2])
@pytest.mark.parametrize("value", [3.0, 0.1, -1e-30, 1e15])
def test_a_column_that_is_constant_where_it_is_known_has_no_variance_to_mix(
    tmp_path: Path, rng: np.random.Generator, count: int | None, value: float
) -> None:
    """A mean is rounded: what is left of it is no share between blocks."""
    x = np.full((93, 3), value)
    x[rng.random((93, 3)) < 0.3] = np.nan
    x[:, 2] = rng.standard_normal(93)
    y = np.full(93, 1)
    data = write_dataset(tmp_path / "a.zarr", chunk_rows=8, X=x, y=y)
    found = block_statistics(data, 8, count)
    assert found.worst().name == "X[2]"
    assert found.label is not None
    for column in (*found.features[:2], found.label):
        assert (column.variance, column.between_share, column.error) == (0, 0, 0)
