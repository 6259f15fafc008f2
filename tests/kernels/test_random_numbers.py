"""Random numbers of kernels: their law, their independence, and the mixer that makes them."""

import math

import numpy as np
import pytest
from scipy import stats

from ooc.core.random_keys import ALL_BITS, GOLDEN, splitmix
from ooc.kernels.random_numbers import fill_normal, normal, uniform


def expected(seed: int, row: int, number: int) -> float:
    """The same by Python's whole numbers."""
    of_row = splitmix((seed + (row + 1) * GOLDEN) & ALL_BITS)
    return (splitmix((of_row + (number + 1) * GOLDEN) & ALL_BITS) >> 11) / 2**53


@pytest.mark.parametrize(
    ("seed", "row", "number"), [(0, 0, 0), (2**63 - 1, 5, 7), (12345, 2**40, 3)]
)
def test_numbers_are_those_of_the_mixer(seed: int, row: int, number: int) -> None:
    assert uniform(seed, row, number) == expected(seed, row, number)
    one, other = (expected(seed, row, 2 * number + k) for k in range(2))
    by_hand = math.sqrt(-2 * math.log(1 - one)) * math.cos(2 * math.pi * other)
    assert normal(seed, row, number) == pytest.approx(by_hand, rel=1e-12)


def test_uniform_numbers_are_uniform() -> None:
    for seed in range(3):
        numbers = [uniform(seed, row, number) for row in range(500) for number in range(10)]
        assert stats.kstest(numbers, "uniform").pvalue > 1e-4


def test_normal_numbers_are_normal_and_independent() -> None:
    out = np.empty((20_000, 4))
    fill_normal(8, 3, out)
    assert out[1, 2] == normal(8, 4, 2)
    assert stats.kstest(out.ravel(), "norm").pvalue > 1e-4
    next_seed = np.empty_like(out)
    fill_normal(9, 3, next_seed)
    correlations = np.corrcoef(np.hstack([out, next_seed, np.roll(out, 1, axis=0)]).T)
    assert np.abs(correlations - np.eye(12)).max() < 5 / math.sqrt(len(out))
