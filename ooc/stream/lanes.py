"""One lane of a stream by itself: which blocks and rows it has, and what it gives to which batch.

A lane needs no other lane. So whoever serves it, a thread here or a worker elsewhere, reads its
blocks alone, and the stream is still that of all lanes together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from ooc.stream.order import Order
from ooc.stream.plan import Plan


@dataclass(frozen=True)
class LaneOrder(Order):
    """The order of one lane's rows; a window of it is that lane's part of a whole window.

    Examples
    --------
    >>> whole = Order(1000, 10, 8, lanes=2)
    >>> lane_order(whole, 1).window_blocks(0, 0).tolist() == whole.lane_blocks(0, 0, 1).tolist()
    True
    """

    lane: int = 0

    @property
    def window_rows(self) -> int:
        """Rows of a full window."""
        return min(self._full // self.lanes, self.rows)

    def window_blocks(self, epoch: int, window: int) -> np.ndarray:
        """Return the lane's blocks of a window, ascending; none where its blocks are used up."""
        return self.lane_blocks(epoch, window, self.lane)

    def rows_in(self, blocks: np.ndarray) -> int:
        """Return the stored rows that these ascending blocks hold."""
        return super().rows_in(blocks) if len(blocks) else 0

    def permute_rows(self, epoch: int, window: int, out: np.ndarray) -> None:
        """Fill `out` (int32, one entry for each stored row) with the order of the lane's rows."""
        self._permute(epoch, window, self.lane, out)

    def places(self, epoch: int, window: int, epochs: int) -> Iterator[tuple[int, int, int]]:
        """Yield (epoch, window, 0) of each window that has rows of the lane, from one on."""
        for each in range(epoch, epochs):
            for index in range(window if each == epoch else 0, self.windows):
                if len(self.window_blocks(each, index)):
                    yield each, index, 0


def lane_order(order: Order, lane: int) -> LaneOrder:
    """Return the order of one lane's rows."""
    return LaneOrder(**{each.name: getattr(order, each.name) for each in fields(Order)}, lane=lane)


def lane_plan(plan: Plan, lane: int, lanes_here: int = 1) -> Plan:
    """Return the plan by which one lane is read where so many are read beside each other.

    Its terms are what those lanes hold together: their part of the slabs, and all else as it was.
    """
    slabs = -(-plan.terms["slabs"] * lanes_here // plan.order.lanes)
    return replace(
        plan,
        order=lane_order(plan.order, lane),
        readers=max(1, plan.readers // lanes_here),
        terms={**plan.terms, "slabs": slabs},
    )


def rows_before(rows: Sequence[int], place: int) -> list[int]:
    """Return how many rows each lane gives before a place of a window's stream.

    Lanes take turns for as long as they have rows, see `ooc.stream.order.interleave`.

    Parameters
    ----------
    rows
        Of each lane in the window.
    place
        Rows of the stream, from 0 to their sum.

    Examples
    --------
    >>> rows_before([4, 2], 3), rows_before([4, 2], 5)
    ([2, 1], [3, 2])
    """
    turns, left = 0, place
    for length in sorted(rows):
        going_on = sum(each >= length for each in rows)
        if (length - turns) * going_on > left:
            break
        left -= (length - turns) * going_on
        turns = length
    going_on = sum(each > turns for each in rows)
    more, first = divmod(left, going_on) if going_on else (0, 0)
    found, seen = [], 0
    for each in rows:
        goes_on = each > turns
        found.append(turns + more + (seen < first) if goes_on else each)
        seen += goes_on
    return found
