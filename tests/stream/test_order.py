"""The order of rows: bijections, uniform, and found without the windows before."""

import itertools
from collections import Counter

import numpy as np
import pytest
from chi_square import chi_square_p
from hypothesis import given
from hypothesis import strategies as st

from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, key
from ooc.stream.draws import Draws
from ooc.stream.order import SHUFFLES, Order, Subset, permute, position_of, shuffled

orders = st.builds(
    Order,
    rows=st.integers(1, 500),
    block_rows=st.integers(1, 40),
    blocks_per_window=st.integers(1, 20),
    shuffle=st.sampled_from(sorted(SHUFFLES)),
    seed=st.integers(-(2**40), 2**40),
)


def stream(order: Order, epoch: int) -> np.ndarray:
    """Return the rows of an epoch as a naive reader would visit them."""
    parts = []
    for window in range(order.windows):
        blocks = order.window_blocks(epoch, window)
        rows = np.concatenate(
            [
                np.arange(block * order.block_rows, (block + 1) * order.block_rows)
                for block in blocks
            ]
        )
        rows = rows[rows < order.rows]
        assert len(rows) == order.rows_in(blocks)
        places = np.empty(len(rows), np.int32)
        order.permute_rows(epoch, window, places)
        parts.append(rows[places])
    return np.concatenate(parts)


@given(orders, st.integers(0, 5))
def test_an_epoch_visits_every_row_once(order: Order, epoch: int) -> None:
    assert np.array_equal(np.sort(stream(order, epoch)), np.arange(order.rows))


@given(orders, st.integers(0, 5))
def test_a_position_is_found_without_the_windows_before(order: Order, epoch: int) -> None:
    row = 0
    for window in range(order.windows):
        for inside in range(order.rows_in(order.window_blocks(epoch, window))):
            assert order.locate(epoch, row) == (window, inside)
            row += 1


def test_without_a_shuffle_rows_come_as_they_are_stored() -> None:
    assert np.array_equal(stream(Order(103, 10, 3, "none"), 0), np.arange(103))


def test_epochs_and_seeds_differ() -> None:
    a = stream(Order(500, 5, 10, seed=1), 0)
    assert not np.array_equal(a, stream(Order(500, 5, 10, seed=1), 1))
    assert not np.array_equal(a, stream(Order(500, 5, 10, seed=2), 0))
    assert np.array_equal(a, stream(Order(500, 5, 10, seed=1), 0))


@given(st.integers(1, 3000), st.integers(0, 2**62))
def test_block_positions_are_a_bijection_with_its_inverse(count: int, number: int) -> None:
    items = shuffled(np.arange(count), count, number)
    assert np.array_equal(np.sort(items), np.arange(count))
    assert position_of(items[count // 2], count, number) == count // 2


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("size", [3, 4, 5])
def test_every_permutation_is_equally_likely(size: int) -> None:
    """Chi-square over all permutations, for rows of a window and for blocks."""
    rows, blocks = Counter(), Counter()
    out = np.empty(size, np.int32)
    for index in range(24_000):
        permute(out, key(1, Purpose.ROW_ORDER, 0, index))
        rows[tuple(out.tolist())] += 1
        order = shuffled(np.arange(size), size, key(1, Purpose.BLOCK_ORDER, index))
        blocks[tuple(order.tolist())] += 1
    cells = len(list(itertools.permutations(range(size))))
    assert chi_square_p(list(rows.values()), cells) > 1e-4
    assert chi_square_p(list(blocks.values()), cells) > 1e-4


def test_a_poor_shuffle_would_be_seen() -> None:
    """The chi-square above can fail: swapping each entry with any entry is not uniform."""
    rng, counts = np.random.default_rng(0), Counter()
    for _ in range(24_000):
        items = [0, 1, 2, 3]
        for i, j in enumerate(rng.integers(0, 4, 4)):
            items[i], items[j] = items[j], items[i]
        counts[tuple(items)] += 1
    assert chi_square_p(list(counts.values()), 24) < 1e-4


def test_blocks_land_anywhere_and_far_from_their_neighbours() -> None:
    """Over a larger sequence, block i + 1 follows block i no oftener than 1/K."""
    count, followers = 1000, 0
    for epoch in range(200):
        order = shuffled(np.arange(count), count, key(0, Purpose.BLOCK_ORDER, epoch))
        followers += int((np.diff(order) == 1).sum())
    assert 140 < followers < 260  # mean 199.8, standard deviation about 14


def test_an_unknown_shuffle_is_refused() -> None:
    with pytest.raises(InputError, match="choose one of: blocks, none"):
        Order(10, 1, 1, "perfect")


@pytest.mark.slow
@given(
    st.integers(1, 5), st.integers(1, 4), st.integers(2, 300), st.integers(1, 9), st.integers(0, 9)
)
def test_lanes_visit_every_row_once_from_any_position(
    lanes: int, share: int, rows: int, block_rows: int, seed: int
) -> None:
    order = Order(rows, block_rows, lanes * share, seed=seed, lanes=lanes)
    visited = stream(order, 1)
    assert np.array_equal(np.sort(visited), np.arange(rows))
    row = 0
    for window in range(order.windows):
        for inside in range(order.rows_in(order.window_blocks(1, window))):
            assert order.locate(1, row) == (window, inside)
            row += 1


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_a_batch_has_rows_of_every_lane_alike(share: float) -> None:
    """Of a side of a split the blocks are numbered anew."""
    used = np.flatnonzero(np.random.default_rng(0).random(1000) < share)
    subset = None if share == 1 else Subset(used, np.full(len(used), 10))
    order = Order(10_000, 10, 40, lanes=4, subset=subset)
    windows = len(used) // 40
    lane_of = np.searchsorted(used, stream(order, 0)[: windows * 400] // 10) % 4
    for batch in lane_of.reshape(-1, 80):
        assert np.bincount(batch).tolist() == [20, 20, 20, 20]


def test_the_stream_is_made_of_lanes_whoever_serves_them() -> None:
    """Each lane is served by itself, in any order; put together they are the loader's stream."""
    order = Order(1003, 7, 12, seed=3, lanes=3)
    whole = []
    for window in range(order.windows):
        served = {}
        for lane in (2, 0, 1):
            blocks = order.lane_blocks(0, window, lane)
            rows = (blocks[:, None] * 7 + np.arange(7)).reshape(-1)
            served[lane] = order.lane_rows(0, window, lane, rows[rows < 1003])
        parts = [served[lane].tolist() for lane in range(3)]
        while any(parts):
            whole += [part.pop(0) for part in parts if part]
    assert whole == stream(order, 0).tolist()


def test_other_lanes_are_another_stream() -> None:
    assert not np.array_equal(stream(Order(500, 5, 12, lanes=2), 0), stream(Order(500, 5, 12), 0))


@pytest.mark.parametrize("lanes", [0, 5])
def test_lanes_that_do_not_share_a_window_are_refused(lanes: int) -> None:
    with pytest.raises(InputError, match=f"12 blocks cannot be shared by {lanes} lanes"):
        Order(500, 5, 12, lanes=lanes)


def test_each_window_and_epoch_has_a_permutation_of_its_own() -> None:
    """Windows hold the same places: what differs is the key of epoch, window and lane."""
    order, seen = Order(400, 10, 10, "blocks", seed=1), set[bytes]()
    for epoch in range(3):
        for window in range(order.windows):
            out = np.empty(100, np.int32)
            order.permute_rows(epoch, window, out)
            assert np.array_equal(np.sort(out), np.arange(100))
            seen.add(out.tobytes())
    assert len(seen) == 3 * order.windows


def test_epochs_and_lanes_draw_their_blocks_apart() -> None:
    order = Order(4000, 10, 20, "blocks", seed=1, lanes=2)
    first = {tuple(order.window_blocks(epoch, 0).tolist()) for epoch in range(5)}
    assert len(first) == 5
    # Blocks of lane l are l, l + 2, ...: their places among those of the lane.
    of_lanes = {tuple((order.lane_blocks(0, 0, lane) // 2).tolist()) for lane in range(2)}
    assert len(of_lanes) == 2


def test_a_block_that_is_drawn_again_gives_other_rows() -> None:
    """One block of 20 rows weighs all: each window of each epoch draws 40 of its rows."""
    order = Order(80, 20, 2, draws=Draws("weight", "w", np.array([0.0, 0, 1, 1, 1]), 80))
    assert order.windows == 2
    places = [(epoch, window) for epoch in range(2) for window in range(2)]
    drawn = {
        tuple(np.sort(order.draw_rows(*place, np.ones(20), np.empty(40, np.int32))).tolist())
        for place in places
    }
    assert len(drawn) == 4
