"""Images compared with slices on a grid of orientations and shifts, by products of matrices.

With an image's coefficients y, its transfer function c, a slice f and the noise's variance s2, the
log-likelihood is, but for a constant of the image, ``sum 2 Re(c y* f)/s2 - c^2 |f|^2/s2`` over half
a plane: two products over frequencies, the first one for each shift.
"""

from dataclasses import dataclass

import numpy as np

from ooc.core.compiler import kernel
from pipelines.cryo_em.bands import Band, Spectra, phase_ramps
from pipelines.cryo_em.cuts import cut
from pipelines.cryo_em.orientations import rotation_grid


@dataclass(frozen=True)
class Grid:
    """Poses that are compared with: all rotations with all shifts.

    Attributes
    ----------
    rotations
        (rotations, 3, 3) float64.
    shifts
        (shifts, 2) float64, pixels.
    """

    rotations: np.ndarray
    shifts: np.ndarray


def make_grid(spacing: float, most_shift: float, across: int) -> Grid:
    """Return rotations so many degrees apart, and the middles of `across`^2 cells of shifts."""
    cells = (2 * np.arange(across) + 1 - across) * (most_shift / across)
    shifts = np.stack(np.meshgrid(cells, cells, indexing="ij"), axis=-1).reshape(-1, 2)
    return Grid(rotation_grid(spacing), shifts)


@dataclass(frozen=True)
class Slices:
    """A density's slices in the rotations of a grid, for matrix products.

    Attributes
    ----------
    values
        (rotations, 2 samples) float32: real and imaginary parts.
    power
        (rotations, samples) float32.
    """

    values: np.ndarray
    power: np.ndarray


def slices_of(transform: np.ndarray, ratio: float, band: Band, grid: Grid) -> Slices:
    """Cut a transform (M, M, M, 2) in all rotations of a grid."""
    found = np.empty((len(grid.rotations), len(band.samples)), np.complex64)
    cut(transform, ratio, band.samples, grid.rotations, found)
    return Slices(found.view(np.float32), found.real**2 + found.imag**2)


@dataclass(frozen=True)
class Weighted:
    """Images as they are compared, and put into a density.

    Attributes
    ----------
    values
        (shifts, rows, 2 samples) float32: c y / s2, centred by each shift.
    squares
        (rows, samples) float32: c^2 / s2.
    """

    values: np.ndarray
    squares: np.ndarray


def weigh(spectra: Spectra, band: Band, shifts: np.ndarray) -> Weighted:
    """Weigh a batch within a band, centred by each of the shifts (shifts, 2)."""
    count = len(band.samples)
    contrast = spectra.contrast[:, :count]
    weighted = spectra.values[:, :count] * (contrast * band.weights)
    values = weighted[None] * phase_ramps(shifts, band)[:, None]
    return Weighted(values.view(np.float32), contrast**2 * band.weights)


def likelihoods(images: Weighted, slices: Slices, out: np.ndarray) -> None:
    """Fill log-likelihoods (shifts, rows, rotations) float32, 0 for no particle at all."""
    powers = images.squares @ slices.power.T
    for values, found in zip(images.values, out, strict=True):
        np.matmul(values, slices.values.T, out=found)
        found *= 2
        found -= powers


@kernel
def to_posterior(values: np.ndarray, temperature: float) -> None:
    """Turn log-likelihoods (shifts, rows, rotations) into probabilities, in place.

    Parameters
    ----------
    temperature
        By which they are divided first.
    """
    shifts, rows, rotations = values.shape
    for r in range(rows):
        most = values[0, r, 0]
        for s in range(shifts):
            for g in range(rotations):
                most = max(most, values[s, r, g])
        total = np.float64(0)
        for s in range(shifts):
            part = np.float32(0)
            for g in range(rotations):
                value = np.exp((values[s, r, g] - most) / np.float32(temperature))
                values[s, r, g] = value
                part += value
            total += part
        for s in range(shifts):
            for g in range(rotations):
                values[s, r, g] /= np.float32(total)


@kernel
def best_poses(values: np.ndarray, rotations: np.ndarray, shifts: np.ndarray) -> None:
    """Fill each row's best rotations, best first, and the shift of each.

    Parameters
    ----------
    values
        (shifts, rows, rotations) float32.
    rotations, shifts
        (rows, kept) int64: numbers in the grid.
    """
    rows, kept = rotations.shape
    scores = np.empty(kept, np.float32)
    for r in range(rows):
        scores[:] = -np.inf
        for g in range(values.shape[2]):
            score, shift = values[0, r, g], 0
            for s in range(1, values.shape[0]):
                if values[s, r, g] > score:
                    score, shift = values[s, r, g], s
            if score > scores[kept - 1]:
                place = kept - 1
                while place > 0 and score > scores[place - 1]:
                    scores[place] = scores[place - 1]
                    rotations[r, place], shifts[r, place] = (
                        rotations[r, place - 1], shifts[r, place - 1],
                    )  # fmt: skip
                    place -= 1
                scores[place], rotations[r, place], shifts[r, place] = score, g, shift
