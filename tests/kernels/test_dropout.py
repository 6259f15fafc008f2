"""Dropout's masks: their share, their mean, independence, and that they are functions of places."""

import math

import numpy as np
import pytest

from ooc.core.random_keys import Purpose, key, prefix
from ooc.kernels.dropout import drop, step_seed


def mask(seed: int, number: int, rows: int, units: int, rate: float, first: int = 0) -> np.ndarray:
    values, slopes = np.ones((rows, units), np.float32), np.ones((rows, units), np.float32)
    drop(np.int64(seed), number, first, rate, values, slopes)
    assert np.array_equal(values, slopes)
    return values


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    kept = mask(1, 0, 1000, 300, rate)
    assert set(np.unique(kept).tolist()) == {0.0, float(np.float32(1 / (1 - rate)))}
    spread = 5 * math.sqrt(rate * (1 - rate))
    assert np.mean(kept == 0) == pytest.approx(rate, abs=spread / math.sqrt(kept.size))
    np.testing.assert_allclose((kept == 0).mean(axis=0), rate, atol=spread / math.sqrt(1000))
    np.testing.assert_allclose((kept == 0).mean(axis=1), rate, atol=1.1 * spread / math.sqrt(300))


def test_masks_of_rows_units_layers_and_steps_are_independent() -> None:
    """Correlations between any two of 200 rows or columns, layers or seeds, are those of chance."""
    masks = [mask(seed, number, 200, 400, 0.5) for seed in (5, 6) for number in (0, 1)]
    for one in masks:
        for view in (one, one.T):
            correlation = np.corrcoef(view[:200])
            np.fill_diagonal(correlation, 0)
            assert np.abs(correlation).max() < 6.5 / math.sqrt(view.shape[1])
    flat = np.corrcoef([one.ravel() for one in masks]) - np.eye(4)
    assert np.abs(flat).max() < 5 / math.sqrt(masks[0].size)


def test_a_mask_does_not_depend_on_how_a_batch_is_shared() -> None:
    whole = mask(9, 2, 50, 30, 0.3)
    assert np.array_equal(whole[20:], mask(9, 2, 30, 30, 0.3, first=20))


def test_a_step_s_seed_is_a_function_of_the_run_s_seed_and_its_number() -> None:
    for seed in (0, 3, 2**40):
        run_key = np.uint64(prefix(seed, Purpose.BATCH))
        found = [int(step_seed(run_key, step)) for step in range(50)]
        assert found == [key(seed, Purpose.BATCH, index=step) for step in range(50)]
        assert len(set(found)) == 50


def test_a_mask_is_that_of_integers_of_any_size() -> None:
    """A twin in Python's own integers, wrapped by hand: a saved run goes on with the same masks."""
    golden, low, rate = 0x9E3779B97F4A7C15, 2**32 - 1, 0.375

    def wrapped(value: int) -> int:
        return value % 2**64

    def hashed(seed: int, number: int, row: int, unit: int) -> int:
        mixed = wrapped(seed * golden + (number + 1) * 0xD1342543DE82EF95)
        own = wrapped((mixed ^ row) * 0xBF58476D1CE4E5B9)
        own = wrapped((own ^ own >> 27) * 0x94D049BB133111EB)
        h = (unit * 0x9E3779B9 & low) ^ own >> 32
        h = (h ^ h >> 16) * 0x21F0AAAD & low
        h = (h ^ h >> 15 ^ own & low) * 0xD35A2D97 & low
        return h ^ h >> 15

    for seed, number, first in ((5, 0, 0), (2**62 + 11, 3, 4096)):
        found = mask(seed, number, 12, 9, rate, first) > 0
        expected = [
            [hashed(seed, number, first + r, j) >= rate * 2**32 for j in range(9)]
            for r in range(12)
        ]
        assert found.tolist() == expected
