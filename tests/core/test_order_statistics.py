"""Order statistics are those of the sorted numbers, whatever the pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.core.order_statistics import values_at_ranks

ANY = st.integers(0, 2**64 - 1)
NEAR = st.integers(2**63 - 3, 2**63 + 3)


@pytest.mark.slow
@given(numbers=st.lists(ANY | NEAR, min_size=1, max_size=40), pieces=st.integers(1, 5))
def test_they_are_those_of_the_sorted_numbers(numbers: list[int], pieces: int) -> None:
    read = 0

    def parts() -> "list[np.ndarray]":
        nonlocal read
        read += 1
        return np.array_split(np.array(numbers, np.uint64), pieces)

    ranks = sorted({0, len(numbers) // 2, len(numbers) - 1})
    found = values_at_ranks(lambda: iter(parts()), ranks)
    for rank, (value, below, equal) in zip(ranks, found, strict=True):
        assert value == sorted(numbers)[rank]
        assert below == sum(each < value for each in numbers)
        assert equal == numbers.count(value)
    assert read <= 6


@pytest.mark.parametrize("numbers", [[0, 2**64 - 1], [5] * 7, [2**64 - 1]])
def test_the_ends_of_the_numbers(numbers: list[int]) -> None:
    parts = np.array(numbers, np.uint64)
    ((value, below, equal),) = values_at_ranks(lambda: iter([parts]), [len(numbers) - 1])
    last = max(numbers)
    assert (value, below, equal) == (last, len(numbers) - numbers.count(last), numbers.count(last))
