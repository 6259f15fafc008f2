"""Where the rows of several stores are among those of all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.store.stores import MOST_PADDING, Stores, is_within, placed, told_row

counts = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@given(counts, st.integers(1, 50))
def test_stores_follow_each_other_at_multiples_of_a_unit(rows: list[int], unit: int) -> None:
    stores = placed([f"{k}.zarr" for k in range(len(rows))], rows, unit)
    lengths = [stop - start for start, stop in zip(stores.starts, stores.stops, strict=True)]
    assert lengths == rows
    gaps = np.array(stores.starts[1:]) - np.array(stores.stops[:-1])
    assert (gaps >= 0).all() and stores.padding == gaps.sum()
    assert stores.padding <= MOST_PADDING * stores.stops[-1]
    aligned = all(start % unit == 0 for start in stores.starts)
    assert aligned or stores.padding == 0


@given(counts, st.integers(1, 50), st.integers(0, 300), st.integers(0, 300))
def test_rows_are_found_as_by_a_list_of_all(
    rows: list[int], unit: int, start: int, length: int
) -> None:
    stores = placed([f"{k}.zarr" for k in range(len(rows))], rows, unit)
    owners = np.full(stores.stops[-1] + 700, -1)
    inside = np.zeros(len(owners), int)
    for number, (first, stop) in enumerate(zip(stores.starts, stores.stops, strict=True)):
        owners[first:stop], inside[first:stop] = number, np.arange(stop - first)
    stop = start + length
    assert stores.holds(start, stop).tolist() == (owners[start:stop] >= 0).tolist()
    found = [
        (number, row) for number, first, last in stores.pieces(start, stop)
        for row in range(first, last)
    ]  # fmt: skip
    kept = [place for place in range(start, stop) if owners[place] >= 0]
    assert found == [(owners[place], inside[place]) for place in kept]
    assert [stores.locate(place) for place in kept] == found


def test_chunks_begin_where_stores_do_unless_that_costs_many_rows() -> None:
    assert placed("ab", [95, 40], 10).starts == (0, 100)
    assert placed("ab", [100, 40], 10) == Stores(("a", "b"), (0, 100), (100, 140))
    assert placed("abc", [3, 3, 3], 1000).starts == (0, 3, 6)


@pytest.mark.parametrize("row", [5, np.int64(5)])
def test_a_row_is_told_by_its_store_where_there_are_several(row: int) -> None:
    stores = Stores(("a.zarr", "b.zarr"), (0, 4), (3, 9))
    holder = type("Holder", (), {"stores": stores})
    assert told_row(holder, row) == "1 in b.zarr"
    assert told_row(object(), row) == "5"
    assert is_within(np.arange(10), stores.starts, stores.stops).tolist() == [
        True, True, True, False, True, True, True, True, True, False,
    ]  # fmt: skip
