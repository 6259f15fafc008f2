"""Keys: distinct, uniform, and their order statistics exact."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ooc.core.hashing import ALL_BITS, fill_row_keys, keys_at_ranks, keys_of, keys_of_rows


@given(st.integers(0, 2**62), st.integers(1, 5000))
def test_keys_are_distinct_and_the_same_piece_by_piece(key: int, rows: int) -> None:
    whole, part = np.empty(rows, np.uint64), np.empty(rows - rows // 2, np.uint64)
    fill_row_keys(0, key, whole)
    fill_row_keys(rows // 2, key, part)
    assert len(np.unique(whole)) == rows
    assert np.array_equal(whole[rows // 2 :], part)
    assert np.array_equal(keys_of(np.arange(rows), key), whole)


@given(st.integers(0, 2**62), st.integers(1, 3000), st.data())
def test_order_statistics_are_those_of_a_sort(key: int, rows: int, data: st.DataObject) -> None:
    ranks = np.sort(data.draw(st.lists(st.integers(0, rows), min_size=1, max_size=9)))
    keys = np.sort(keys_of(np.arange(rows), key))
    (found,) = keys_at_ranks(keys_of_rows(rows, key), [np.asarray(ranks)], bits=8)
    expected = [keys[rank] if rank < rows else ALL_BITS for rank in ranks]
    assert np.array_equal(found, np.array(expected, np.uint64))


def test_order_statistics_of_groups() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**64, 1000, np.uint64)
    groups = rng.integers(0, 3, 1000)
    ranks = [np.array([5, 50]), np.array([0]), np.array([int((groups == 2).sum())])]
    found = keys_at_ranks(
        lambda: iter([(keys[:400], groups[:400]), (keys[400:], groups[400:])]), ranks, bits=6
    )
    for group in range(2):
        assert np.array_equal(found[group], np.sort(keys[groups == group])[ranks[group]])
    assert found[2][0] == ALL_BITS
