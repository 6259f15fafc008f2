"""The order of rows against a twin in Python's whole numbers, row by row, as the papers have it."""

import itertools

import numpy as np
import pytest

from ooc.core.errors import InputError
from ooc.core.random_keys import GOLDEN, Purpose, key, splitmix
from ooc.stream.draws import Draws, draw_places
from ooc.stream.order import Order, Subset, interleave, permute, position_of, shuffled

BITS = 2**64


def dealt(count: int, number: int) -> list[int]:
    """Swap or not (Hoang, Morris and Rogaway, 2012): 96 rounds, each pairs x with k - x."""
    items = list(range(count))
    for step in range(96):
        pairing = splitmix((number + (2 * step + 1) * GOLDEN) % BITS) % count
        coins = splitmix((number + (2 * step + 2) * GOLDEN) % BITS)
        for place, x in enumerate(items):
            other = (pairing - x) % count
            if splitmix((coins + max(x, other)) % BITS) % 2:
                items[place] = other
    return items


def permuted(count: int, number: int) -> list[int]:
    """Fisher and Yates, from the end; a 32-bit draw is taken again where it is not even."""
    items = list(range(count))
    for last in range(count - 1, 0, -1):
        while True:
            number += GOLDEN
            scaled = (splitmix(number % BITS) >> 32) * (last + 1)
            if scaled % 2**32 >= 2**32 % (last + 1):
                break
        other = scaled >> 32
        items[last], items[other] = items[other], items[last]
    return items


@pytest.mark.parametrize("count", [1, 2, 3, 17, 64])
@pytest.mark.parametrize("number", [0, 1, 2**63 - 5])
def test_items_are_dealt_and_permuted_as_the_papers_have_it(count: int, number: int) -> None:
    assert shuffled(np.arange(count), count, number).tolist() == dealt(count, number)
    assert [position_of(item, count, number) for item in dealt(count, number)] == [*range(count)]
    out = np.empty(count, np.int32)
    permute(out, number)
    assert out.tolist() == permuted(count, number)


def in_turn(parts: list[list[int]]) -> list[int]:
    """Take one of each in turn; longer ones go on alone."""
    found = itertools.zip_longest(*parts)
    return [each for turn in found for each in turn if each is not None]


def windows_of(order: Order, epoch: int) -> list[tuple[list[int], list[int]]]:
    """Return the blocks of each window, and the rows as they are visited."""
    used = range(-(-order.rows // order.block_rows))
    if order.subset is not None:
        used = order.subset.blocks.tolist()
    lanes = [used[lane :: order.lanes] for lane in range(order.lanes)]
    decks = []
    for lane, blocks in enumerate(lanes):
        number = key(order.seed, Purpose.BLOCK_ORDER, epoch, lane)
        is_mixed = order.shuffle == "blocks" and blocks
        decks.append([blocks[k] for k in dealt(len(blocks), number)] if is_mixed else [*blocks])
    share, found = order.blocks_per_window // order.lanes, []
    for window in range(-(-len(used) // order.blocks_per_window)):
        parts, of_window = [], []
        for lane, deck in enumerate(decks):
            blocks = sorted(deck[window * share : (window + 1) * share])
            of_window += blocks
            rows = [
                row
                for block in blocks
                for row in range(block * order.block_rows, (block + 1) * order.block_rows)
                if row < order.rows
            ]
            number = key(order.seed, Purpose.ROW_ORDER, epoch, (lane << 32) + window)
            places = permuted(len(rows), number) if order.shuffle == "blocks" else range(len(rows))
            parts.append([rows[place] for place in places])
        found.append((sorted(of_window), in_turn(parts)))
    return found


ORDERS = {
    "one lane": Order(203, 10, 4, seed=3),
    "whole blocks": Order(200, 10, 4, seed=4),
    "one window": Order(33, 10, 9),
    "as stored": Order(203, 10, 4, "none", seed=3),
    "lanes": Order(203, 10, 6, seed=5, lanes=3),
    "more lanes in the last window": Order(203, 10, 8, seed=-5, lanes=4),
    "a side": Order(203, 10, 4, seed=6, subset=Subset(np.arange(1, 21, 2), np.arange(1, 11))),
    "lanes of a side": Order(
        203, 10, 4, seed=6, lanes=2, subset=Subset(np.r_[0, 2:12, 17:21], np.full(15, 2))
    ),
}


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("epoch", [0, 3])
def test_an_epoch_is_that_of_dealing_by_hand(name: str, epoch: int) -> None:
    order = ORDERS[name]
    expected = windows_of(order, epoch)
    assert order.windows == len(expected)
    for window, (blocks, visited) in enumerate(expected):
        assert order.window_blocks(epoch, window).tolist() == blocks
        spans = order.spans(np.array(blocks))
        assert spans == [(10 * block, min(10 * block + 10, order.rows)) for block in blocks]
        rows = np.concatenate([np.arange(*span) for span in spans])
        assert order.rows_in(np.array(blocks)) == len(rows)
        places = np.empty(len(rows), np.int32)
        order.permute_rows(epoch, window, places)
        assert rows[places].tolist() == visited
        given = len(rows)
        if order.subset is not None:
            counts = dict(zip(order.subset.blocks.tolist(), order.subset.rows, strict=True))
            given = sum(counts[block] for block in blocks)
        assert order.window_stream_rows(epoch, window) == given


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("left_out", [{}, {0: 7, 1: 1, 2: 3}])
def test_a_position_is_where_the_rows_before_it_end(name: str, left_out: dict[int, int]) -> None:
    order, row = ORDERS[name], 0
    for window in range(order.windows):
        kept = max(0, order.window_stream_rows(1, window) - left_out.get(window, 0))
        for inside in range(kept):
            assert order.locate(1, row, left_out) == (window, inside)
            row += 1


def test_behind_all_rows_is_the_last_window_of_which_none_can_be_read() -> None:
    order = ORDERS["one lane"]
    gone = {order.windows - 1: order.window_stream_rows(1, order.windows - 1)}
    row = order.rows - gone[order.windows - 1]
    assert order.locate(1, row - 1, gone)[0] == order.windows - 2
    assert order.locate(1, row, gone) == (order.windows - 1, 0)


@pytest.mark.parametrize(
    ("order", "sizes"),
    [
        (ORDERS["one lane"], (21, 21, 203, 6, 40)),
        (ORDERS["one window"], (4, 4, 33, 1, 33)),
        (ORDERS["a side"], (21, 10, 55, 3, 40)),
        (Order(203, 10, 4, draws=Draws("weight", "w", np.ones(22), 87)), (21, 9, 87, 3, 40)),
    ],
)
def test_an_order_knows_its_sizes(order: Order, sizes: tuple[int, ...]) -> None:
    found = (order.stored_blocks, order.blocks, order.epoch_rows, order.windows, order.window_rows)
    assert found == sizes


def test_lanes_that_do_not_share_a_window_are_told_both_numbers() -> None:
    with pytest.raises(InputError) as refused:
        Order(500, 5, 12, lanes=5)
    assert str(refused.value) == (
        "a window of 12 blocks cannot be shared by 5 lanes; choose lanes that divide it"
    )


def test_entries_are_taken_in_turn() -> None:
    parts = [[1, 2, 3, 4], [], [5, 6], [7, 8, 9, 10, 11]]
    out = np.empty(11, np.int32)
    interleave([np.array(part, np.int32) for part in parts], out)
    assert out.tolist() == in_turn(parts) == [1, 5, 7, 2, 6, 8, 3, 9, 4, 10, 11]


WEIGHTS = np.array([0, 3, 1, 0, 2.5, 0, 0, 4, 1, 1, 0, 7, 0, 0, 0, 1, 2, 0, 0.5, 6, 1, 0, 2])


def drawn_places(weights: np.ndarray, first: int, stop: int, number: int, count: int) -> list[int]:
    """Return for each draw of 53 bits the first row by which more than its share is passed."""
    found, sums = [], np.cumsum(weights)
    before = sums[first] - weights[first]
    for _ in range(count):
        number += GOLDEN
        share = (splitmix(number % BITS) >> 11) / 2**53 * (sums[stop - 1] - before)
        place = next(row for row in range(first, stop) if sums[row] > before + share)
        found.append(place)
    return found


@pytest.mark.parametrize(("first", "stop"), [(0, 23), (0, 2), (1, 9), (7, 8), (19, 23)])
def test_rows_are_drawn_where_their_share_of_the_weight_is(first: int, stop: int) -> None:
    out = np.empty(60, np.int32)
    draw_places(np.cumsum(WEIGHTS), first, stop, 99, out)
    assert out.tolist() == drawn_places(WEIGHTS, first, stop, 99, 60)


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("rows", [23, 17])
def test_an_epoch_of_draws_is_that_of_drawing_by_hand(rows: int, epoch: int) -> None:
    """Blocks of 4 rows by systematic sampling, three times in a window, each with its own key."""
    of_blocks = [WEIGHTS[first : first + 4].sum() for first in range(0, 23, 4)]
    draws = Draws("weight", "w", np.concatenate([[0.0], np.cumsum(of_blocks)]), rows)
    order, seed = Order(23, 4, 3, seed=8, draws=draws), 8
    times = -(-rows // 4)
    start = key(seed, Purpose.DRAWS, epoch) / 2**63
    points = [(k + start) * sum(of_blocks) / times for k in range(times)]
    deck = dealt(times, key(seed, Purpose.BLOCK_ORDER, epoch))
    taken = 0
    for window in range(-(-times // 3)):
        chosen = []
        for place in sorted(deck[3 * window : 3 * window + 3]):
            sums = itertools.accumulate(of_blocks)
            chosen.append(next(k for k, end in enumerate(sums) if points[place] < end))
        blocks = sorted(set(chosen))
        assert order.window_blocks(epoch, window).tolist() == blocks
        held = [row for block in blocks for row in range(4 * block, min(4 * block + 4, 23))]
        weights, places = WEIGHTS[held], []
        for slot, block in enumerate(blocks):
            number = key(seed, Purpose.DRAWS, epoch, (window << 32) + block)
            span = (4 * slot, min(4 * slot + 4, len(held)))
            places += drawn_places(weights, *span, number, 4 * chosen.count(block))
        order_of = permuted(len(places), key(seed, Purpose.ROW_ORDER, epoch, window))
        count = min(12, rows - 12 * window)
        expected = [places[place] for place in order_of][:count]
        found = order.draw_rows(epoch, window, weights, np.empty(12, np.int32))
        assert found.tolist() == expected
        assert order.window_stream_rows(epoch, window) == count
        assert order.locate(epoch, taken) == (window, 0)
        assert order.locate(epoch, taken + count - 1) == (window, count - 1)
        taken += count
    assert taken == order.epoch_rows == rows
