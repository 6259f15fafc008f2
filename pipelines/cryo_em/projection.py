"""Projections in real space: slices of a density are shifted and summed, and the sum is warped.

Nothing here is what a reconstruction inverts: no Fourier slice is taken. Along a line of sight
each plane of voxels that it crosses is sheared by a shift of its own, so that all of its voxels
are interpolated with the same weights; what they sum to is the projection in skewed coordinates,
whose two are those of the planes (P. Lacroute and M. Levoy, SIGGRAPH 1994, section 3).
"""

import math

import numpy as np
from scipy import fft

from ooc.core.compiler import kernel, small_kernel

FINER = 2  # times, that the density is sampled before it is interpolated
# The frequency response of an interpolation is a power of sinc: of linear ones within planes, and
# of the cubic B-spline by which their sum is warped.
WITHIN, WARPED = 2, 4


def finer(volume: np.ndarray) -> np.ndarray:
    """Return a density (box,)*3 between its voxels, for `project`: (3, *(2 box,)*3) float32.

    The first has planes across z, then y, then x, and in each of them the other axes in the order
    of the density. What interpolation in planes and of their sum will take from high frequencies
    is given to them here, as a mean over all places between voxels: views along an axis, whose rays
    take one place of them, are true to two parts in a hundred where others are to five in a
    thousand. What lies outside of a sphere in the box is left out.
    """
    box, size = len(volume), FINER * len(volume)
    values = fft.fftshift(fft.fftn(fft.ifftshift(volume.astype(np.float64))))
    lost = np.sinc((np.arange(box) - box // 2) / size) ** (WITHIN + WARPED)
    start = size // 2 - box // 2
    # The frequency -box/2 has no partner, and is left out.
    first = 1 - box % 2
    kept = slice(start + first, start + box)
    along = np.square(np.arange(size, dtype=np.float32) - size // 2)
    outside = along[:, None, None] + along[:, None] + along > reach_of(box) ** 2
    found = np.empty((3, size, size, size), np.float32)
    for axis in range(3):
        padded = np.zeros((size,) * 3, np.complex128)
        one, other = (np.expand_dims(lost, _others(each)) for each in range(3) if each != axis)
        padded[kept, kept, kept] = (values / one / other)[first:, first:, first:]
        dense = fft.fftshift(fft.ifftn(fft.ifftshift(padded), overwrite_x=True).real)
        dense[outside] = 0
        found[axis] = np.moveaxis(dense, axis, 0) * FINER**3
    return found


def _others(axis: int) -> tuple[int, ...]:
    return tuple(each for each in range(3) if each != axis)


@small_kernel
def reach_of(box: int) -> float:
    """Return the radius of the sphere that is seen, in finer voxels."""
    return FINER * ((box - 1) // 2 - 0.5)


@kernel
def project(fine: np.ndarray, rotations: np.ndarray, out: np.ndarray) -> None:
    """Fill images (rows, box, box) float32 with projections of a density.

    Parameters
    ----------
    fine
        (3, *(2 box,)*3) float32, see `finer`.
    rotations
        (rows, 3, 3).
    """
    rows, box, _ = out.shape
    # In skewed coordinates the sphere reaches further by a root of two; the spline has two more.
    half = int(1.4143 * fine.shape[1] / 2) + 4
    skewed = np.empty((2 * half, 2 * half), np.float32)
    radius = reach_of(box)
    for r in range(rows):
        turn = rotations[r].astype(np.float64)
        # From x, y, z, as rotations have them, to z, y, x, as densities do.
        sight = turn[2, ::-1]
        axis = 0
        for each in range(1, 3):
            if abs(sight[each]) > abs(sight[axis]):
                axis = each
        down = 1 if axis == 0 else 0
        across = 1 if axis == 2 else 2
        slope_down, slope_across = sight[down] / sight[axis], sight[across] / sight[axis]
        skewed[:] = 0
        add_planes(fine[axis], slope_down, slope_across, radius, skewed)
        matrix = np.empty((2, 2))
        for each in range(2):
            depth = turn[each, 2 - axis]
            matrix[0, each] = FINER * (turn[each, 2 - down] - depth * slope_down)
            matrix[1, each] = FINER * (turn[each, 2 - across] - depth * slope_across)
        warp(skewed, matrix, radius / FINER, 1.0 / (FINER * abs(sight[axis])), out[r])


@kernel
def add_planes(
    planes: np.ndarray, slope_down: float, slope_across: float, radius: float, out: np.ndarray
) -> None:
    """Add all planes of a density, each shifted by its distance from the middle times slopes."""
    size, half = planes.shape[0], len(out) // 2
    middle = size // 2
    for s in range(size):
        away = s - middle
        square = radius * radius - away * away
        if square < 0:
            continue
        reach = int(math.sqrt(square)) + 1
        j, i = math.floor(away * slope_down), math.floor(away * slope_across)
        b, a = np.float32(away * slope_down - j), np.float32(away * slope_across - i)
        nearest, further = (1 - b) * (1 - a), (1 - b) * a
        below, both = b * (1 - a), b * a
        first, last = max(0, middle - reach - 1), min(size - 1, middle + reach + 1)
        for v in range(first, last):
            upper, lower = planes[s, v, first : last + 1], planes[s, v + 1, first : last + 1]
            place = half - middle - int(i) + first
            row = out[half + v - middle - int(j), place : place + last - first]
            for u in range(len(row)):
                row[u] += (
                    nearest * upper[u] + further * upper[u + 1]
                    + below * lower[u] + both * lower[u + 1]
                )  # fmt: skip


@kernel
def warp(
    skewed: np.ndarray, matrix: np.ndarray, reach: float, factor: float, out: np.ndarray
) -> None:
    """Fill an image, up to a radius, with what lies at a matrix times (x, y), by a B-spline."""
    box, half = len(out), len(skewed) // 2
    middle = box // 2
    for y in range(-middle, box - middle):
        for x in range(-middle, box - middle):
            total = 0.0
            if x * x + y * y < reach * reach:
                down = matrix[0, 0] * x + matrix[0, 1] * y + half
                across = matrix[1, 0] * x + matrix[1, 1] * y + half
                v, u = int(down), int(across)
                columns = spline(across - u)
                for place, weight in enumerate(spline(down - v)):
                    row = skewed[v - 1 + place, u - 1 : u + 3]
                    total += weight * (
                        columns[0] * row[0] + columns[1] * row[1]
                        + columns[2] * row[2] + columns[3] * row[3]
                    )  # fmt: skip
            out[y + middle, x + middle] = np.float32(factor * total)


@kernel
def spline(part: float) -> tuple[float, float, float, float]:
    """Return the cubic B-spline's weights of the four samples about a place between the middle two.

    Examples
    --------
    >>> [round(6 * weight, 3) for weight in spline(0.0)]
    [1.0, 4.0, 1.0, 0.0]
    """
    rest = 1.0 - part
    return (
        rest * rest * rest / 6,
        (4 - 6 * part * part + 3 * part * part * part) / 6,
        (4 - 6 * rest * rest + 3 * rest * rest * rest) / 6,
        part * part * part / 6,
    )
