"""Standard normal numbers on a grid: an inverse of their distribution function, in pieces.

Each number is a function of a seed, its row and its column. 16 random bits choose one of 65,536
pieces of equal probability, and 16 more a place in it, on a straight line between the piece's
ends; in the 16 pieces at either end, where that would not do, the inverse is found by Newton's
method. Nowhere is the probability of what lies below a number off by more than 2 in 10^7.

`ooc.synthetic.normal_kernel` does the same, to the same bits, for data that are worth a compiler.
"""

import math
from functools import cache
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np

from ooc.core.random_keys import GOLDEN, splitmix

# Features lie on a grid of 1/256, as an instrument's do: stored, they take half the space.
GRID = 256
# So fine that nothing of a number is lost: no float32 below 8 has more bits.
FINE = 2**20

PIECES, CURVED, ROUNDS = 2**16, 16, 5
UNIT = 1.0 / 2**16
ROOT_2, ROOT_2_PI = math.sqrt(2.0), math.sqrt(2.0 * math.pi)


class Fill(Protocol):
    """Fills an array with normal numbers, as `fill_rounded` does."""

    def __call__(
        self, seed: int, means: np.ndarray, labels: np.ndarray, grid: int, out: np.ndarray
    ) -> None:
        """Draw."""


def fill_rounded(
    seed: int, means: np.ndarray, labels: np.ndarray, grid: int, out: np.ndarray
) -> None:
    """Fill `out` with normal numbers of variance 1, rounded to a grid.

    Parameters
    ----------
    seed
        Below 2^63.
    means
        (labels, columns) float32.
    labels
        (rows,) int64: which means a row has.
    grid
        How many steps there are from 0 to 1, a power of 2: `GRID`, or `FINE`.
    out
        (rows, columns) float32.

    Examples
    --------
    >>> out = np.empty((2000, 50), np.float32)
    >>> fill_rounded(3, np.full((1, 50), 2, np.float32), np.zeros(2000, np.int64), GRID, out)
    >>> round(float(out.mean()), 1), round(float(out.std()), 1), float(out[0, 0] * 256) % 1
    (2.0, 1.0, 0.0)
    """
    rows, columns = out.shape
    pairs = -(-columns // 2)
    steps = np.arange(1, max(rows, pairs) + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    mix: Any = splitmix
    bits = mix(mix(np.uint64(seed) + steps[:rows])[:, None] + steps[:pairs])
    halves = np.stack([bits >> 32, bits & (2**32 - 1)], axis=2)
    halves = halves.reshape(rows, 2 * pairs)[:, :columns].astype(np.int64)
    ends, pieces = edges(), halves >> 16
    places = ((halves & 0xFFFF).astype(np.float32) + np.float32(0.5)) * np.float32(UNIT)
    values = ends[pieces] + (ends[pieces + 1] - ends[pieces]) * places
    curved = (pieces < CURVED) | (pieces >= PIECES - CURVED)
    values[curved] = [inverse((half + 0.5) * UNIT**2) for half in halves[curved].tolist()]
    values += means[labels]
    out[...] = np.rint(values * np.float32(grid)) * np.float32(1.0 / grid)


@cache
def edges() -> np.ndarray:
    """Return the ends of pieces, (65,537,) float32; the outermost, which are not used, are 0."""
    found, inverse_of = np.zeros(PIECES + 1, np.float32), NormalDist().inv_cdf
    found[1 : PIECES // 2 + 1] = [inverse_of(k * UNIT) for k in range(1, PIECES // 2 + 1)]
    found[PIECES // 2 + 1 : -1] = -found[PIECES // 2 - 1 : 0 : -1]
    return found


def inverse(below: float) -> float:
    """Return the number below which so much of the probability lies.

    Examples
    --------
    >>> round(inverse(0.975), 9)
    1.959963985
    """
    is_upper = below > 0.5
    if is_upper:
        below = 1.0 - below
    # From left of it, by the logarithm of the probability, which is nearly a parabola.
    value = -math.sqrt(-2.0 * math.log(below))
    for _ in range(ROUNDS):
        found = 0.5 * math.erfc(-value / ROOT_2)
        density = math.exp(-0.5 * value * value) / ROOT_2_PI
        value -= math.log(found / below) * found / density
    return -value if is_upper else value
