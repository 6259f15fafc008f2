"""Rows drawn in proportion to weights, at block speed: first blocks, then rows in them.

An epoch draws D = N/b blocks by systematic sampling over the cumulative sums of their weights
(Madow, 1949): one at every W/D of weight, so that block k is drawn D W_k / W times on average.
For each time, as many rows as a block has are drawn from it with replacement,
row i with the probability w_i / W_k. Every single draw is thus row i with the probability
w_i / W exactly. Blocks that weigh nothing are never read; heavy ones are drawn more than once,
and read once for each window that they are in.
"""

from dataclasses import dataclass, field

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.core.hashing import GOLDEN, mix
from ooc.core.random_keys import Purpose, key


@dataclass(frozen=True)
class Draws:
    """How rows are drawn.

    Attributes
    ----------
    array
        What the weights are made of, or None where all weigh the same.
    cumulative
        (K + 1,) float64, weight of all blocks before each.
    rows
        Rows that can be drawn: the N of importance weights.
    classes, class_weights
        For "balanced" the classes, ascending, and what a row of each weighs.
    """

    kind: str
    array: str | None
    cumulative: np.ndarray = field(compare=False, repr=False)
    rows: int
    classes: tuple[int, ...] = ()
    class_weights: tuple[float, ...] = ()

    @property
    def total(self) -> float:
        """W, weight of all rows."""
        return float(self.cumulative[-1])

    def blocks_at(self, positions: np.ndarray, count: int, seed: int, epoch: int) -> np.ndarray:
        """Return the blocks (int64) of these draws of an epoch, each in 0..count-1."""
        start = np.float64(key(seed, Purpose.DRAWS, epoch)) / 2.0**63
        points = (positions + start) * (self.total / count)
        found = np.searchsorted(self.cumulative, points, side="right") - 1
        # Rounding may push the last point onto the end, beyond blocks that weigh nothing.
        last = int(np.searchsorted(self.cumulative, self.total, side="left")) - 1
        return np.minimum(found, last).astype(np.int64)

    def weights_of(self, values: np.ndarray | None, rows: int) -> np.ndarray:
        """Return the weights (float64) of rows whose entries of `array` are `values`."""
        if values is None:
            return np.ones(rows)
        flat = values.reshape(-1)
        if not self.classes:
            return flat.astype(np.float64)
        group = np.searchsorted(np.array(self.classes), flat)
        return np.array(self.class_weights)[np.minimum(group, len(self.classes) - 1)]

    def importance(self, weights: np.ndarray) -> np.ndarray:
        """Return what makes a mean over drawn rows unbiased for all rows: W / (N w)."""
        return self.total / (self.rows * weights)


@exact_kernel
def draw_places(cumulative: np.ndarray, first: int, stop: int, key: int, out: np.ndarray) -> None:
    """Fill `out` (int32) with places in first..stop-1, each drawn by its weight.

    `cumulative` sums up the weights of the window's rows, float64.
    """
    before = cumulative[first - 1] if first > 0 else 0.0
    whole = cumulative[stop - 1] - before
    state = np.uint64(key)
    for i in range(out.size):
        state += GOLDEN
        part = np.float64(mix(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
        wanted = before + part * whole
        low, high = first, stop - 1
        while low < high:
            middle = (low + high) // 2
            if cumulative[middle] > wanted:
                high = middle
            else:
                low = middle + 1
        # Rounding may end on a row that weighs nothing: go back to one that weighs.
        while low > first and cumulative[low] == cumulative[low - 1]:
            low -= 1
        out[i] = low
