"""Sums over a stream against those of lists: batches, and pairs of rows."""

import itertools

import numpy as np
import pytest

from ooc.shuffle.scan import BatchSums, same_pairs


@pytest.mark.parametrize("parts", [[10, 5, 8], [1] * 23, [23], [7, 14, 2], [3, 1, 19]])
@pytest.mark.parametrize("size", [1, 7, 23, 24])
def test_sums_are_those_of_whole_batches_however_rows_come(
    rng: np.random.Generator, size: int, parts: list[int]
) -> None:
    values, sums = rng.standard_normal((23, 3)), BatchSums(size, 3)
    for part in np.split(values, np.cumsum(parts)[:-1]):
        sums.add(part)
    means = [values[at : at + size].mean(axis=0) for at in range(0, 23 - size + 1, size)]
    assert (sums.rows, sums.batches) == (23, len(means))
    of_means = np.array(means).reshape(-1, 3)
    expected = [each.sum(axis=0) for each in (values, values**2, of_means, of_means**2)]
    np.testing.assert_allclose(sums.moments, expected, atol=1e-12)


@pytest.mark.parametrize("values", [[], [4], [2, 2], [3, 1, 3, 3, 1], list(range(9)), [7] * 8])
def test_pairs_of_equal_values_are_counted(values: list[int]) -> None:
    expected = sum(a == b for a, b in itertools.combinations(values, 2))
    assert same_pairs(np.array(values, np.int64)) == expected
