"""An archive of local minima: written chunk by chunk, summarised batch by batch, out of core.

Row i is the minimum below the random start number i: threads share the rows, and no bit depends
on how many threads there are.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from molecules_kernel import LOOSE, centre, draw_start, energy_and_gradient, nearest_distance
from molecules_quench import minimise_lbfgs

from ooc.core.compiler import kernel
from ooc.core.errors import DataError
from ooc.core.hashing import GOLDEN, mix
from ooc.core.random_keys import Purpose, prefix
from ooc.metrics import Report, silent
from ooc.store.dataset import Dataset
from ooc.store.writer import Columns, Field, create
from ooc.stream.loader import Loader
from ooc.synthetic.fill import fill

TOLERANCE = 1e-8
MOST_EVALUATIONS = 10_000
# Minima whose energies are as near as this, in epsilon, count as one.
RESOLUTION = 1e-5
# Small shards share out evenly among threads.
SHARD_BYTES = 16 * 2**20
BATCH_SIZE = 16_384
# Rows are read in order: a larger window would mix no better, and hold more.
WINDOW_BLOCKS = 16


@kernel
def quench_rows(
    prefix: int,
    first: int,
    x: np.ndarray,
    energy: np.ndarray,
    gradient_norm: np.ndarray,
    evaluations: np.ndarray,
) -> None:
    """Fill arrays with the minima below random starts number first, first + 1, ...

    Parameters
    ----------
    prefix
        uint64 as `ooc.core.random_keys.prefix` makes it.
    x
        (rows, atoms, 3) float32; the others (rows,).
    """
    state, positions = np.empty(1, np.uint64), np.empty((3, x.shape[1]))
    for row in range(energy.size):
        state[0] = mix((prefix ^ np.uint64(first + row)) + GOLDEN) >> np.uint64(1)
        draw_start(state, LOOSE, positions)
        found = minimise_lbfgs(positions, TOLERANCE, MOST_EVALUATIONS)
        energy[row], gradient_norm[row], evaluations[row] = found
        centre(positions)
        for atom in range(x.shape[1]):
            for axis in range(3):
                x[row, atom, axis] = positions[axis, atom]


def write_archive(
    path: Path,
    atoms: int,
    rows: int,
    seed: int,
    threads: int | None = None,
    report: Report = silent,
    chunk_bytes: int = 512 * 2**10,
) -> None:
    """Minimise from random starts, and write what is found; a thread holds one chunk.

    Arrays: "X" (rows, atoms, 3) float32, in sigma; "energy" and "gradient_norm" (rows,) float64,
    in epsilon and epsilon/sigma; "evaluations" (rows,) int32; "start" (rows,) int64, the number
    of the start, whose generator is `key(seed, Purpose.DATA, index=start)`.
    """
    begin = np.uint64(prefix(seed, Purpose.DATA))

    def draw(number: int, first: int, count: int) -> Columns:
        columns: dict[str, np.ndarray] = {
            "X": np.empty((count, atoms, 3), np.float32),
            "energy": np.empty(count),
            "gradient_norm": np.empty(count),
            "evaluations": np.empty(count, np.int32),
        }
        quench_rows(begin, first, *columns.values())  # type: ignore[arg-type]
        return columns | {"start": np.arange(first, first + count)}

    fields = {
        "X": Field("float32", (atoms, 3)),
        "energy": Field("float64"),
        "gradient_norm": Field("float64"),
        "evaluations": Field("int32"),
        "start": Field("int64"),
    }
    notes = {"atoms": atoms, "seed": seed, "rows": rows}
    with create(path, fields, notes, chunk_bytes, SHARD_BYTES) as writer:
        fill(writer, rows, draw, threads, report)


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
    loader = Loader(dataset, rows, memory, shuffle="none", arrays=names, window=WINDOW_BLOCKS)
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
