"""From a density of low resolution to poses and a finer one: passes over all images.

An image's pose is looked for on the coarse grid and around where it was; the best few are made
better by Gauss-Newton steps, in a low band first. Two halves of the rows, odd and even, each have
their own density from here on, which is that of the mini-batches so far and is taken anew several
times in a pass. What both halves have in common tells how far each shell is to be trusted, and up
to which ring poses are made better.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.cryo_em.bands import PADDING, Band, Spectra
from pipelines.cryo_em.density_sums import add_images, density_of
from pipelines.cryo_em.pose_state import SHIFT, PoseState
from pipelines.cryo_em.refinement import POSE, refine
from pipelines.cryo_em.resolution import HALVES, Correlation, correlate
from pipelines.cryo_em.search import Slices, best_poses, likelihoods, slices_of, weigh
from pipelines.cryo_em.start import Search

CANDIDATES, FINALISTS = 4, 2  # poses of the grid, and those that are made better in the whole band
FIRST_STEPS, STEPS = 3, 6  # of Gauss-Newton, in the low band and in the whole one
LEAST_SHARE, MOST_SHARE = 0.01, 0.999  # of what halves have in common, as a ratio is made of it


@dataclass(frozen=True)
class Reference:
    """What the images of one half are compared with.

    Attributes
    ----------
    transform
        (M, M, M, 2) float32.
    slices
        On the coarse grid; None where poses are not looked for there.
    """

    transform: np.ndarray
    slices: Slices | None


def half_of(rows: np.ndarray) -> np.ndarray:
    """Return to which half each row number belongs, 0 or 1."""
    found: np.ndarray = rows % 2
    return found


def reference_of(volume: np.ndarray, band: Band, search: Search | None) -> Reference:
    """Make a density ready to be compared with; `search` is the coarse one, if it is wanted."""
    transform = band.transform(volume)
    if search is None:
        return Reference(transform, None)
    return Reference(transform, slices_of(transform, float(PADDING), search.band, search.grid))


def assign(
    state: PoseState,
    rows: np.ndarray,
    spectra: Spectra,
    reference: Reference,
    band: Band,
    search: Search,
    last: int,
    most_shift: float,
) -> None:
    """Find the poses of rows in a density, and note them in the state.

    Parameters
    ----------
    spectra
        Of these rows, within the band.
    last
        The last ring that poses are made better with.
    """
    candidates = []
    if reference.slices is not None:
        candidates.append(_of_grid(spectra, reference.slices, search))
    if state.known(rows).all():
        before = np.empty((len(rows), 1, POSE))
        before[:, 0, :9] = state.rotations(rows).reshape(-1, 9)
        before[:, 0, 9:] = state.poses[rows, SHIFT]
        candidates.append(before)
    poses = np.concatenate(candidates, axis=1)
    low, count = band.count(search.band.last), band.count(last)
    if poses.shape[1] > 1:
        poses, _ = _better(poses, spectra, reference, band, low, most_shift, FIRST_STEPS, FINALISTS)
    poses, losses = _better(poses, spectra, reference, band, count, most_shift, STEPS, 1)
    power = np.abs(spectra.values[:, :count]) ** 2 @ band.weights[:count]
    best = poses[:, 0]
    state.put(rows, best[:, :9].reshape(-1, 3, 3), best[:, 9:], power - losses[:, 0])


def _of_grid(spectra: Spectra, slices: Slices, search: Search) -> np.ndarray:
    """Return the best poses of the coarse grid, (rows, candidates, 11)."""
    grid, count = search.grid, len(spectra.values)
    scores = np.empty((len(grid.shifts), count, len(grid.rotations)), np.float32)
    likelihoods(weigh(spectra, search.band, grid.shifts), slices, scores)
    rotations, shifts = np.zeros((2, count, CANDIDATES), np.int64)
    best_poses(scores, rotations, shifts)
    found = np.empty((count, CANDIDATES, POSE))
    found[..., :9] = grid.rotations[rotations].reshape(count, CANDIDATES, 9)
    found[..., 9:] = grid.shifts[shifts]
    return found


def _better(
    poses: np.ndarray, spectra: Spectra, reference: Reference, band: Band, count: int,
    most_shift: float, steps: int, kept: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Make poses (rows, candidates, 11) better in a band, and keep the best, with their losses."""
    rows, candidates, _ = poses.shape
    moved, losses = poses.copy(), np.empty((candidates, rows))
    values, contrast = spectra.values[:, :count], spectra.contrast[:, :count]
    for each in range(candidates):
        one = np.ascontiguousarray(moved[:, each])
        refine(
            reference.transform, float(PADDING), band.samples[:count], values, contrast,
            band.weights[:count], band.box, most_shift, steps, one, losses[each],
        )  # fmt: skip
        moved[:, each] = one
    order = np.argsort(losses, axis=0, kind="stable")[:kept].T
    chosen = np.take_along_axis(moved, order[..., None], axis=1)
    return chosen, np.take_along_axis(losses.T, order, axis=1)


def add_batch(
    sums: np.ndarray, state: PoseState, rows: np.ndarray, spectra: Spectra, band: Band
) -> None:
    """Add images in the poses of the state to the sums (2, M^3) of their half."""
    add_images(sums, band, spectra, state.rotations(rows), state.poses[rows, SHIFT])


def densities_of(
    sums: np.ndarray, band: Band, ratio: np.ndarray, voxel: float
) -> tuple[np.ndarray, Correlation]:
    """Return the densities (2, box, box, box) of both halves, and how they correlate."""
    volumes = np.stack([density_of(half, band, ratio) for half in sums])
    return volumes, correlate(volumes[0], volumes[1], voxel)


def ratio_of(correlation: Correlation) -> np.ndarray:
    """Return the signal-to-noise ratio of each shell of a half (Scheres 2012)."""
    shared = np.clip(correlation.values, LEAST_SHARE, MOST_SHARE)
    # Behind the first shell that halves do not share, a correlation is chance.
    below = np.flatnonzero(correlation.values[1:] < HALVES)
    if len(below):
        shared[below[0] + 2 :] = LEAST_SHARE
    found: np.ndarray = shared / (1 - shared)
    return found
