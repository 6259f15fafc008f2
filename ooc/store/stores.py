"""Which rows are of which store, where several are one dataset."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Rows between two stores that are of neither may be so large a part of all.
MOST_PADDING = 1 / 8


@dataclass(frozen=True)
class Stores:
    """Where the rows of each store begin and end among those of all.

    Each begins at a multiple of a chunk, so that blocks read whole chunks of every store. Rows
    between the end of one and the start of the next are of none, and nothing uses them.

    Attributes
    ----------
    paths
        Of the stores, in the order of their rows.
    starts, stops
        First row of each, and the one after its last.

    Examples
    --------
    >>> stores = Stores(("2023.zarr", "2024.zarr"), (0, 400), (365, 766))
    >>> stores.told(402), stores.padding
    ('2 in 2024.zarr', 35)
    """

    paths: tuple[str, ...]
    starts: tuple[int, ...]
    stops: tuple[int, ...]

    @property
    def padding(self) -> int:
        """Rows that are of no store."""
        return self.stops[-1] - sum(self.stops) + sum(self.starts)

    def locate(self, row: int) -> tuple[int, int]:
        """Return the number of the store that has a row, and the row's own number in it."""
        number = bisect_right(self.starts, row) - 1
        return number, row - self.starts[number]

    def told(self, row: int) -> str:
        """Return a row's number in its store, and which that is."""
        number, inside = self.locate(row)
        return f"{inside} in {self.paths[number]}"

    def pieces(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Return (store, first row, stop) for each part of rows start to stop, in its own rows."""
        found = []
        for number in range(max(0, bisect_right(self.starts, start) - 1), len(self.starts)):
            first, last = max(start, self.starts[number]), min(stop, self.stops[number])
            if self.starts[number] >= stop:
                break
            if first < last:
                found.append((number, first - self.starts[number], last - self.starts[number]))
        return found

    def holds(self, start: int, stop: int) -> np.ndarray:
        """Tell of rows start to stop - 1 whether they are of a store: (rows,) bool."""
        return is_within(np.arange(start, stop), self.starts, self.stops)


NONE = Stores((), (), ())


def is_within(rows: np.ndarray, starts: Sequence[int], stops: Sequence[int]) -> np.ndarray:
    """Tell of rows whether they are from a start on and before the stop that belongs to it.

    Examples
    --------
    >>> is_within(np.arange(6), (0, 4), (2, 5))
    array([ True,  True, False, False,  True, False])
    """
    place = np.searchsorted(np.asarray(starts), rows, "right") - 1
    return rows < np.asarray(stops)[place]


def placed(paths: Sequence[str], rows: Sequence[int], unit: int, least: int = 1) -> Stores:
    """Place stores one after the other, each at a multiple of `unit`, if that costs few rows.

    Else each is at a multiple of `least`, of which `unit` is one.

    Examples
    --------
    >>> placed(["a", "b"], [95, 40], unit=10).starts
    (0, 100)
    >>> placed(["a", "b"], [15, 40], unit=1000).starts
    (0, 15)
    """
    for step in (unit, least):
        starts, stops, reached = [], [], 0
        for count in rows:
            start = -(-reached // step) * step
            reached = start + count
            starts.append(start)
            stops.append(reached)
        if reached - sum(rows) <= MOST_PADDING * reached:
            break
    return Stores(tuple(paths), tuple(starts), tuple(stops))


def told_row(holder: Any, row: int) -> str:
    """Return a row's number as a message has it: of several stores with the one that it is in.

    `holder` is a dataset, a window or a batch, which know their stores.

    Examples
    --------
    >>> told_row(None, 17)
    '17'
    """
    stores: Stores | None = getattr(holder, "stores", None)
    return str(row) if stores is None else stores.told(int(row))
