"""One lane by itself has what it has among all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ooc.stream.lanes import lane_order, rows_before
from ooc.stream.order import Order, Subset, interleave, interleave_again


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_rows_before_a_place_are_those_that_taking_turns_gives(rows: list[int]) -> None:
    lanes = np.empty(sum(rows), np.int64)
    interleave([np.full(count, lane) for lane, count in enumerate(rows)], lanes)
    for place in range(len(lanes) + 1):
        assert rows_before(rows, place) == np.bincount(lanes[:place], minlength=len(rows)).tolist()


SUBSET = Subset(np.arange(1, 100, 2), np.full(50, 10))
ORDERS = [
    Order(1003, 7, 12, seed=3, lanes=3),
    Order(1000, 10, 8, seed=1, lanes=2, subset=SUBSET),
    Order(95, 10, 4, lanes=4),
]


def whole_window(order: Order, window: int) -> np.ndarray:
    """Return the rows of a window in the order of the stream."""
    spans = order.spans(order.window_blocks(1, window))
    rows = np.concatenate([np.arange(start, stop) for start, stop in spans])
    places = np.empty(len(rows), np.int32)
    order.permute_rows(1, window, places)
    return rows[places]


@pytest.mark.parametrize("order", ORDERS)
def test_a_lane_has_its_rows_of_each_window_in_the_same_order(order: Order) -> None:
    for window in range(order.windows):
        rows = whole_window(order, window)
        lane_of_row = order.lanes_of(rows // order.block_rows)
        for lane in range(order.lanes):
            alone, wanted = lane_order(order, lane), rows[lane_of_row == lane]
            blocks = alone.window_blocks(1, window)
            assert alone.rows_in(blocks) == len(wanted) <= alone.window_rows
            if len(blocks):
                np.testing.assert_array_equal(whole_window(alone, window), wanted)


@pytest.mark.parametrize("order", ORDERS)
def test_a_lane_visits_the_windows_in_which_it_has_blocks(order: Order) -> None:
    for lane in range(order.lanes):
        alone = lane_order(order, lane)
        filled = [
            (epoch, window, 0)
            for epoch in (1, 2)
            for window in range(order.windows)
            if len(alone.window_blocks(epoch, window))
        ]
        assert list(alone.places(1, 0, 3)) == filled
        assert (
            list(alone.places(1, 1, 2))
            == [each for each in filled if each[:2] >= (1, 1)][
                : sum(each[0] == 1 and each[1] >= 1 for each in filled)
            ]
        )


@given(st.lists(st.integers(0, 2), max_size=30))
def test_lanes_take_turns_again_where_rows_were_left_out(lane_of_row: list[int]) -> None:
    order, lanes = np.arange(len(lane_of_row), dtype=np.int32), np.array(lane_of_row, np.int64)
    again = interleave_again(order, lanes, 3)
    assert sorted(again.tolist()) == order.tolist()
    rows = np.bincount(lanes, minlength=3).tolist()
    for place in range(len(again) + 1):
        assert np.bincount(lanes[again[:place]], minlength=3).tolist() == rows_before(rows, place)
    for lane in range(3):
        assert again[lanes[again] == lane].tolist() == order[lanes == lane].tolist()
