"""What is made of rows before the networks see them, compiled: coordinates, conditions, codes.

Whatever is drawn is a function of a seed and of a row's place in its batch.
"""

import math

import numpy as np

from ooc.core.compiler import lean_kernel, like
from ooc.core.hashing import GOLDEN, mix
from ooc.kernels.random_numbers import uniform
from ooc.kernels.share import Numbers, Share
from pipelines.protein_interfaces.columns import (
    AREA,
    CLASSES,
    COUNTS,
    ENERGY,
    INTERFACE,
    RESIDUES,
    STABLE,
    SURFACE,
)

LABELS, PARTS = len(CLASSES), len(RESIDUES)
CONDITIONS = LABELS + 1  # one of each class, and whether it is stable
COUNTED, FIRST_FURTHER = len(COUNTS), COUNTS[6]
SIZE = COUNTED + 2 + 2 * (PARTS - 1)
ROUNDED = 0.01  # percent
SMALLEST = ROUNDED / 4
# Random numbers of a row: first the code, then one for each count and part, then the mixture.
EVENLY = 4096
MIXTURE = EVENLY + COUNTED + 2 * PARTS


@lean_kernel
def fill_codes(seed: int, first: int, out: np.ndarray) -> None:
    """Fill the first columns of `out` with codes of the rows first, first + 1, ...

    Each entry is the sum of four uniform 16-bit numbers, of mean 0 and variance 1: nearly normal
    (Irwin and Hall 1927), and of one hash.
    """
    scale = math.sqrt(3.0) / 65536.0
    for r in range(out.shape[0]):
        of_row = mix(np.uint64(seed) + np.uint64(first + r + 1) * GOLDEN)
        for k in range(out.shape[1]):
            bits = mix(of_row + np.uint64(k + 1) * GOLDEN)
            total = (
                (bits & np.uint64(0xFFFF))
                + ((bits >> np.uint64(16)) & np.uint64(0xFFFF))
                + ((bits >> np.uint64(32)) & np.uint64(0xFFFF))
                + (bits >> np.uint64(48))
            )
            out[r, k] = (np.float64(total) - 131070.0) * scale


@lean_kernel
def fill_coordinates(
    rows: np.ndarray, numbers: Numbers, seed: int, first: int, out: np.ndarray
) -> int:
    """Fill (rows, 59 or more) with coordinates, see `pipelines.protein_interfaces.coordinates`.

    Parameters
    ----------
    rows
        (rows, 64).
    numbers
        Reals are shifts, factors and edges; integers where the edges of each count begin.
    first
        Number of the first row, of which what is drawn is a function.

    Returns
    -------
    int
        The first row that has a value which is not finite or is not possible, or -1.
    """
    shift, factor = numbers.reals[:SIZE], numbers.reals[SIZE : 2 * SIZE]
    edges, starts = numbers.reals[2 * SIZE :], numbers.integers
    for r in range(rows.shape[0]):
        seen = 0.0
        for j in range(rows.shape[1]):
            seen += rows[r, j] * np.float64(0)
        if seen != 0.0 or not rows[r, AREA] > 0:
            return r
        for k in range(COUNTED):
            count = np.int64(rows[r, k if k < 6 else FIRST_FURTHER + k - 6])
            cell = starts[k] + min(max(count, 0), starts[k + 1] - starts[k] - 2)
            even = uniform(seed, first + r, EVENLY + k)
            value = edges[cell] + even * (edges[cell + 1] - edges[cell])
            out[r, k] = (value - shift[k]) * factor[k]
        out[r, COUNTED] = (math.log(rows[r, AREA]) - shift[COUNTED]) * factor[COUNTED]
        k = COUNTED + 1
        out[r, k] = (rows[r, ENERGY] - shift[k]) * factor[k]
        for which in range(2):
            column = INTERFACE.start if which == 0 else SURFACE.start
            drawn, total = EVENLY + COUNTED + which * PARTS, 0.0
            for part in range(PARTS):
                even = uniform(seed, first + r, drawn + part) - 0.5
                value = math.log(max(rows[r, column + part] + ROUNDED * even, SMALLEST))
                if part > 0:
                    k += 1
                    ratio = math.sqrt(part / (part + 1.0)) * (total / part - value)
                    out[r, k] = (ratio - shift[k]) * factor[k]
                total += value
    return -1


@lean_kernel
def fill_conditions(share: Share, start: int, out: np.ndarray) -> int:
    """Fill columns from `start` on with the condition of each row; return a bad row, or -1."""
    for r in range(out.shape[0]):
        label = share.targets[r, 0]
        if not (0 <= label < LABELS and label == math.floor(label)):
            return r
        for k in range(LABELS):
            out[r, start + k] = like(1.0, label) if k == label else like(0.0, label)
        is_stable = share.features[r, ENERGY] <= STABLE
        out[r, start + LABELS] = like(1.0, label) if is_stable else like(0.0, label)
    return -1


@lean_kernel
def mix_points(seed: int, first: int, points: np.ndarray) -> None:
    """Fill the last third with points between real and made ones, on the line that joins them."""
    rows = points.shape[0] // 3
    for r in range(rows):
        share = like(uniform(seed, first + r, MIXTURE), points[0, 0])
        for j in range(points.shape[1]):
            real, made = points[r, j], points[rows + r, j]
            points[2 * rows + r, j] = made + share * (real - made)
