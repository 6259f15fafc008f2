"""Keys: distinct, uniform, and their order statistics exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.core.hashing import ALL_BITS, fill_row_keys, keys_at_ranks, keys_of, keys_of_rows
from ooc.core.random_keys import GOLDEN, splitmix


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


@pytest.mark.parametrize("number", [0, 3, 2**63 - 1])
def test_a_row_has_the_key_of_its_place_in_a_sequence(number: int) -> None:
    """SplitMix64's, from its state on; labels may be negative."""
    rows = [0, 1, 2, 77, 2**40, -1, -(2**40)]
    expected = [splitmix((number + (row + 1) * GOLDEN) % 2**64) for row in rows]
    assert keys_of(np.array(rows), number).tolist() == expected
    out = np.empty(3, np.uint64)
    fill_row_keys(76, number, out)
    assert out[1] == expected[3]


def test_keys_of_all_rows_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ooc.core.hashing.PIECE_ROWS", 10)
    pieces = [(keys.copy(), groups.size) for keys, groups in keys_of_rows(23, 5)()]
    assert [len(keys) for keys, _ in pieces] == [10, 10, 3]
    assert {size for _, size in pieces} == {0}
    assert (
        np.concatenate([keys for keys, _ in pieces]).tolist() == keys_of(np.arange(23), 5).tolist()
    )


@pytest.mark.parametrize("bits", [1, 5, 20])
def test_order_statistics_need_no_leading_bits_apart(bits: int) -> None:
    """Keys that share all leading bits, the smallest and the largest, in one or two groups."""
    keys = np.array([3, 2**63, 2**63 + 5, 1, 2**64 - 1, 2**63 + 2, 0], np.uint64)
    alone = np.empty(0, np.int64)
    found = keys_at_ranks(lambda: iter([(keys, alone)]), [np.arange(8)], bits=bits)[0]
    assert found.tolist() == [*np.sort(keys).tolist(), 2**64 - 1]
    groups = np.array([0, 1, 1, 0, 0, 1, 1])
    ranks = [np.array([0, 2, 3]), np.array([1, 1, 4])]
    found = keys_at_ranks(lambda: iter([(keys, groups)]), ranks, bits=bits)
    assert found[0].tolist() == [1, 2**64 - 1, 2**64 - 1]
    assert found[1].tolist() == [2**63, 2**63, 2**64 - 1]
