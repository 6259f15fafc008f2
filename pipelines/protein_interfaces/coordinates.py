"""Coordinates in which interfaces have no constraint, and the way back to rows that keep all.

A count n becomes a number drawn evenly from its cell, and cells are as wide as makes the whole
nearly normal (randomised quantiles: Dunn and Smyth 1996). A composition of 20 becomes 19 isometric
log-ratios (Egozcue et al. 2003); before, a value in hundredths of a percent is drawn evenly from
those that round to it. The area becomes its logarithm, dG stays. All are then standardised; dG is
twice as wide as others. The characters of the surface are sums of its amino acids, and no
coordinates.

The way back is the networks' output map: exponentials and a division for compositions, which can be
differentiated, then rounding, which cannot. Training ends before the rounding.
"""

from dataclasses import dataclass

import numpy as np

from ooc.kernels.share import Numbers
from pipelines.protein_interfaces.columns import (
    AREA,
    CHARACTERS,
    COUNTS,
    ENERGY,
    INTERFACE,
    IS,
    SURFACE,
    WIDTH,
    hundredths,
)
from pipelines.protein_interfaces.row_kernels import PARTS, SIZE, fill_coordinates

OF_AREA, OF_ENERGY = len(COUNTS), len(COUNTS) + 1
OF_INTERFACE = slice(OF_ENERGY + 1, OF_ENERGY + PARTS)
OF_SURFACE = slice(OF_INTERFACE.stop, SIZE)
# How much wider than the other coordinates dG is, so that the critic sees where stability ends.
WIDER = 2.0
# The share of an end's cell that is cut off: the normal distribution has no end.
CUT = 0.05

__all__ = ["SIZE", "Coordinates", "fit", "to_rows"]


@dataclass(frozen=True)
class Coordinates:
    """Cells of counts, and what all coordinates are standardised with.

    Attributes
    ----------
    edges
        Of the cells of every count, one after the other: those of n from 0 to the largest seen.
    starts
        Where the edges of each count begin, and where the last end: (20,).
    shift, factor
        (59,) each: a coordinate is (value - shift) times factor.
    """

    edges: tuple[float, ...]
    starts: tuple[int, ...]
    shift: tuple[float, ...]
    factor: tuple[float, ...]

    def of_rows(self, rows: np.ndarray, seed: int, first: int = 0) -> np.ndarray:
        """Return the coordinates of rows (rows, 64): (rows, 59) float64.

        What is drawn is a function of the seed and a row's number, from `first` on.
        """
        found = np.empty((len(rows), SIZE))
        fill_coordinates(np.ascontiguousarray(rows, np.float64), self.numbers(), seed, first, found)
        return found

    def numbers(self) -> Numbers:
        """Return them as kernels read them."""
        return Numbers(
            np.array([*self.shift, *self.factor, *self.edges]), np.array(self.starts, np.int64)
        )


def fit(rows: np.ndarray, seed: int = 0) -> Coordinates:
    """Fit cells and moments to rows, (rows, 64)."""
    edges, starts = list[float](), [0]
    for column in COUNTS:
        edges += _cells(rows[:, column].astype(np.int64))
        starts.append(len(edges))
    plain = Coordinates(tuple(edges), tuple(starts), (0.0,) * SIZE, (1.0,) * SIZE)
    found = plain.of_rows(rows, seed)
    shift, factor = found.mean(axis=0), 1 / np.maximum(found.std(axis=0), 1e-6)
    factor[OF_ENERGY] *= WIDER
    return Coordinates(plain.edges, plain.starts, tuple(shift.tolist()), tuple(factor.tolist()))


def to_rows(given: Coordinates, coordinates: np.ndarray) -> np.ndarray:
    """Return the rows of coordinates (rows, 59), every constraint kept: (rows, 64) float32."""
    values = coordinates.astype(np.float64) / np.array(given.factor) + np.array(given.shift)
    rows = np.empty((len(values), WIDTH))
    for place, column in enumerate(COUNTS):
        cells = np.array(given.edges[given.starts[place] : given.starts[place + 1]])
        rows[:, column] = np.searchsorted(cells[1:-1], values[:, place], side="right")
    rows[:, AREA] = np.maximum(np.rint(np.exp(np.clip(values[:, OF_AREA], 0, 12))), 1)
    rows[:, ENERGY] = values[:, OF_ENERGY]
    for where, ratios in ((INTERFACE, OF_INTERFACE), (SURFACE, OF_SURFACE)):
        logs = values[:, ratios] @ basis().T
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        whole = hundredths(shares)
        rows[:, where] = whole / 100
        if where == SURFACE:
            rows[:, CHARACTERS] = whole @ IS.T / 100
    return rows.astype(np.float32)


def basis() -> np.ndarray:
    """Return the orthonormal basis of log-ratios, (20, 19): the first k against the next one.

    Examples
    --------
    >>> bool(np.allclose(basis().T @ basis(), np.eye(19)))
    True
    """
    found = np.zeros((PARTS, PARTS - 1))
    for k in range(1, PARTS):
        scale = np.sqrt(k / (k + 1))
        found[:k, k - 1], found[k, k - 1] = scale / k, -scale
    return found


def _cells(counts: np.ndarray) -> list[float]:
    """Return the edges of cells of counts from 0 to the largest, normal quantiles of their shares.

    A quarter of a row more in each keeps those open that nothing fell into.
    """
    from scipy.stats import norm

    seen = np.bincount(counts) + 0.25
    below = np.concatenate([[0.0], np.cumsum(seen)]) / seen.sum()
    below[0], below[-1] = CUT * below[1], 1 - CUT * (1 - below[-2])
    if len(seen) == 1:
        below[:] = 0.5 * CUT, 1 - 0.5 * CUT
    found: list[float] = norm.ppf(below).tolist()
    return found
