"""From nothing to a density of low resolution: stochastic expectation maximisation on a grid.

The first mini-batch is put together in random poses, which gives a ball. Each further one is
compared with slices of the density in all orientations and shifts of a coarse grid; each image is
put into the density in all of them, by their probabilities, and what earlier batches put there
fades (Cappe and Moulines 2009; of stochastic descent for this Punjani et al. 2017). Probabilities
are flatter at first, at a temperature that falls to 1: the more images tell, the higher it begins,
for a density that is sure of poses before it has a shape stays what it is.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.cryo_em.bands import PADDING, Band, spectra_of
from pipelines.cryo_em.density_sums import add_images, add_slices, density_of, empty_sums
from pipelines.cryo_em.poses import random_rotations
from pipelines.cryo_em.search import (
    Grid,
    Slices,
    Weighted,
    likelihoods,
    make_grid,
    slices_of,
    to_posterior,
    weigh,
)

LAST_RING = 8  # of the band: finer, the grid's steps are too wide
SPACING, ACROSS = 15.0, 3  # degrees between orientations, and shifts along an axis
FADE, FIRST_FADE, FIRST_STEPS = 0.3, 0.5, 5
# The first temperature, at least; what a ball gains over it; the share of steps until it is 1.
HOT, SURE, COOL_AFTER = 1.5, 6.0, 0.8
RATIO = 3.0  # signal over noise in each shell of the density of a few batches


@dataclass(frozen=True)
class Search:
    """What a start compares images with.

    Attributes
    ----------
    band, grid
        Frequencies, orientations and shifts.
    pixel
        Of the images, A.
    steps
        Mini-batches of a start.
    """

    band: Band
    grid: Grid
    pixel: float
    steps: int

    @property
    def ratio(self) -> np.ndarray:
        """Signal-to-noise ratios, (shells,)."""
        return np.full(self.band.last + 2, RATIO)


def check_box(box: int) -> None:
    """Refuse images that are too small for the band of a start, or of an odd side."""
    Band(LAST_RING, box, ())


def make_search(box: int, pixel: float, noise: np.ndarray, most_shift: float, steps: int) -> Search:
    """Return the search of a start; images that are too small for its band are refused."""
    band = Band(LAST_RING, box, tuple(map(float, noise)))
    return Search(band, make_grid(SPACING, most_shift, ACROSS), pixel, steps)


def search_bytes(search: Search, rows: int) -> int:
    """Return what comparing a batch of so many rows takes, at most."""
    rotations, shifts = len(search.grid.rotations), len(search.grid.shifts)
    samples = len(search.band.samples)
    scores = 4 * rows * rotations * (shifts + 1)
    return scores + 8 * samples * (2 * rotations + 2 * shifts * rows) + 64 * search.band.size**3


def temperature_of(step: int, steps: int, gain: float) -> float:
    """Return the temperature of a step: it falls to 1 along a geometric sequence.

    Parameters
    ----------
    gain
        Of the first step that had a density, see `improve`.

    Examples
    --------
    >>> temperature_of(0, 100, 3.0), temperature_of(0, 100, 72.0), temperature_of(80, 100, 72.0)
    (1.5, 12.0, 1.0)
    """
    hot = max(HOT, gain / SURE)
    return float(hot ** max(0.0, 1 - step / (COOL_AFTER * steps)))


def begin(
    search: Search, images: np.ndarray, optics: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of a batch in random poses, and their density."""
    sums, rows = empty_sums(search.band), len(images)
    spectra = spectra_of(images, optics, search.band, search.pixel)
    rotations = random_rotations(generator, rows).astype(np.float64)
    add_images(sums, search.band, spectra, rotations, np.zeros((rows, 2)))
    return sums, density_of(sums, search.band, search.ratio)


def improve(
    search: Search,
    volume: np.ndarray,
    sums: np.ndarray,
    images: np.ndarray,
    optics: np.ndarray,
    step: int,
    first_gain: float | None = None,
) -> tuple[np.ndarray, float]:
    """Add a batch to the sums, in place, and return their density.

    Parameters
    ----------
    first_gain
        What the first of these steps returned; None in that one.

    Returns
    -------
    density
        (inner,)*3 float32.
    gain
        By how much a particle in the best pose of the grid makes an image likelier, in mean.
    """
    band, grid = search.band, search.grid
    slices = slices_of(band.transform(volume), float(PADDING), band, grid)
    weighted = weigh(spectra_of(images, optics, band, search.pixel), band, grid.shifts)
    scores = np.empty((len(grid.shifts), len(images), len(grid.rotations)), np.float32)
    likelihoods(weighted, slices, scores)
    gain = float(scores.max(axis=(0, 2)).mean(dtype=np.float64))
    first_gain = gain if first_gain is None else first_gain
    to_posterior(scores, temperature_of(step, search.steps, first_gain))
    sums *= 1 - (FIRST_FADE if step <= FIRST_STEPS else FADE)
    _spread(sums, search, weighted, scores, slices)
    return density_of(sums, band, search.ratio), gain


def _spread(
    sums: np.ndarray, search: Search, images: Weighted, posterior: np.ndarray, slices: Slices
) -> None:
    """Put images into the density in all poses of the grid, by their probabilities."""
    found = np.zeros_like(slices.values)
    for chances, values in zip(posterior, images.values, strict=True):
        found += chances.T @ values
    weights = posterior.sum(axis=0).T @ images.squares
    add_slices(sums, search.band, found.view(np.complex64), weights, search.grid.rotations)
