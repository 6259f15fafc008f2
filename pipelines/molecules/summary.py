"""What an archive of minima holds, read batch by batch, out of core."""

from dataclasses import dataclass

import numpy as np

import ooc
from ooc.core.compiler import kernel
from ooc.core.errors import DataError
from pipelines.common.dataset import Dataset
from pipelines.molecules.data import TOLERANCE
from pipelines.molecules.energy import energy_and_gradient, nearest_distance

# Minima whose energies are as near as this, in epsilon, count as one.
RESOLUTION = 1e-5
BATCH_SIZE = 16_384
# Rows are read in order: a larger window would mix no better, and hold more.
WINDOW_BLOCKS = 16


@dataclass(frozen=True)
class Summary:
    """What an archive holds.

    Attributes
    ----------
    rows, unconverged
        Minima, and how many of them have a gradient norm of `TOLERANCE` or more: those are left
        out of all that follows.
    energies, counts, first_rows
        Of each distinct minimum, by energy: to `RESOLUTION`, ascending; how often it was found;
        the first row of it.
    nearest
        Of each, the mean distance of an atom to its nearest, in sigma.
    evaluations
        Mean of energies and gradients that a minimisation took.
    largest_error
        Largest difference of a stored energy to that of the stored positions, in epsilon.
    """

    rows: int
    unconverged: int
    energies: np.ndarray
    counts: np.ndarray
    first_rows: np.ndarray
    nearest: np.ndarray
    evaluations: float
    largest_error: float

    @property
    def distinct(self) -> int:
        """Distinct minima that were found."""
        return len(self.energies)

    @property
    def lowest_share(self) -> float:
        """Share of minimisations that end in the lowest minimum."""
        return float(self.counts[0] / self.counts.sum())

    @property
    def mean_nearest(self) -> float:
        """Mean distance of an atom to its nearest, over all converged minima, in sigma."""
        return float(self.nearest @ self.counts / self.counts.sum())

    @property
    def expected_distinct(self) -> float:
        """Estimate of all minima there are, those not found yet included: Chao (1984)."""
        once, twice = (int((self.counts == times).sum()) for times in (1, 2))
        return self.distinct + once * (once - 1) / (2 * (twice + 1))

    def found_after(self, rows: np.ndarray) -> np.ndarray:
        """Return how many distinct minima the first rows of the archive hold."""
        return np.searchsorted(np.sort(self.first_rows), rows, side="left")


@dataclass(frozen=True)
class _Tally:
    keys: np.ndarray
    counts: np.ndarray
    first_rows: np.ndarray
    nearest: np.ndarray

    def with_more(self, other: "_Tally") -> "_Tally":
        """Add a later part of the archive, in which a key may come up many times."""
        keys = np.concatenate([self.keys, other.keys])
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        counts = np.concatenate([self.counts, other.counts])
        nearest = np.concatenate([self.nearest, other.nearest])
        return _Tally(
            distinct,
            np.bincount(inverse, counts).astype(np.int64),
            np.concatenate([self.first_rows, other.first_rows])[first],
            np.bincount(inverse, nearest),
        )


@kernel
def _measure(x: np.ndarray, energy: np.ndarray, nearest: np.ndarray) -> float:
    """Fill `nearest` (rows,); return the largest difference of energies."""
    positions, gradient = np.empty((3, x.shape[1])), np.empty((3, x.shape[1]))
    largest = 0.0
    for row in range(x.shape[0]):
        for atom in range(x.shape[1]):
            for axis in range(3):
                positions[axis, atom] = x[row, atom, axis]
        nearest[row] = nearest_distance(positions)
        difference = abs(energy_and_gradient(positions, gradient) - energy[row])
        # A NaN is kept: every comparison with one is false.
        if not difference <= largest:
            largest = difference
    return largest


def summarise(dataset: Dataset, memory: str | int) -> Summary:
    """Read an archive once, in order, inside a memory budget; what is kept is a row a minimum.

    Raises
    ------
    DataError
        If no minimum of the archive has converged.
    """
    names = ("X", "energy", "gradient_norm", "evaluations")
    rows = min(BATCH_SIZE, dataset.rows)
    loader = ooc.Loader(
        dataset, rows, memory=memory, shuffle="none", arrays=names, window=WINDOW_BLOCKS
    )
    empty = np.empty(0, np.int64)
    tally = _Tally(empty, empty, empty, np.empty(0))
    evaluations, unconverged, largest = 0, 0, 0.0
    for batch in loader:
        nearest, energy = np.empty(len(batch.rows)), batch["energy"]
        largest = np.maximum(largest, _measure(batch["X"], energy, nearest))
        good = batch["gradient_norm"] < TOLERANCE
        unconverged += int(np.count_nonzero(~good))
        evaluations += int(batch["evaluations"].sum(dtype=np.int64))
        keys = np.rint(energy[good] / RESOLUTION).astype(np.int64)
        ones = np.ones(len(keys), np.int64)
        tally = tally.with_more(_Tally(keys, ones, batch.rows[good], nearest[good]))
    if not len(tally.keys):
        raise DataError(
            f"none of the {dataset.rows} minima of {dataset.path} has a gradient norm below "
            f"{TOLERANCE:g}; write the archive again"
        )
    return Summary(
        dataset.rows,
        unconverged,
        tally.keys * RESOLUTION,
        tally.counts,
        tally.first_rows,
        tally.nearest / tally.counts,
        evaluations / dataset.rows,
        float(largest),
    )
