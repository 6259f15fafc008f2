"""Sums of slices, in which a density is the ratio: what mini-batches add to, and earlier ones fade.

It is descent on the density with the curvature as a preconditioner, as in
`pipelines.cryo_em.training`, written as its two sums: a step of rate r towards what a batch says is
to multiply both by 1 - r, and to add the batch to them.
"""

from functools import cache

import numpy as np

from pipelines.cryo_em.bands import PADDING, Band, Spectra, phase_ramps
from pipelines.cryo_em.cuts import insert
from pipelines.cryo_em.inversion import divide
from pipelines.cryo_em.resolution import soft_sphere

MASK, EDGE = 0.45, 0.05  # radius and edge of the sphere that a particle is in, in boxes


def empty_sums(band: Band) -> np.ndarray:
    """Return (2, M^3) float64: what images put into the transform, and its curvature."""
    return np.zeros((2, band.size**3))


def add_slices(
    sums: np.ndarray, band: Band, slices: np.ndarray, weights: np.ndarray, rotations: np.ndarray
) -> None:
    """Add slices (rotations, samples) complex64 with weights float32 to sums of a band."""
    ones = _ones(band.size**3)
    insert(slices, weights, float(PADDING), band.samples, rotations, ones, sums[0], sums[1],
           band.size)  # fmt: skip


def add_images(
    sums: np.ndarray, band: Band, spectra: Spectra, rotations: np.ndarray, shifts: np.ndarray
) -> None:
    """Add images in poses: rotations (rows, 3, 3) float64, shifts (rows, 2)."""
    slices = phase_ramps(shifts, band)
    slices *= spectra.values
    slices *= spectra.contrast * band.weights
    add_slices(sums, band, slices, spectra.contrast**2 * band.weights, rotations)


def density_of(sums: np.ndarray, band: Band, ratio: np.ndarray) -> np.ndarray:
    """Return the density (inner,)*3 float32 of sums, inside of the sphere.

    Parameters
    ----------
    ratio
        Signal-to-noise ratio of each shell, by which a density is drawn towards 0.
    """
    numerator, weight = (each.reshape((band.size,) * 3) for each in sums)
    found: np.ndarray = divide(numerator, weight, band.inner, ratio) * sphere(band.inner)
    return found


@cache
def sphere(box: int) -> np.ndarray:
    """Return the mask (box,)*3 float32 of the sphere that a particle is in."""
    return soft_sphere(box, MASK * box, max(2.0, EDGE * box)).astype(np.float32)


@cache
def _ones(count: int) -> np.ndarray:
    return np.ones(count, np.float32)
