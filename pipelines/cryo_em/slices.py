"""Fourier slices by trilinear interpolation, and their exact adjoint, compiled.

A density of M^3 voxels is held by its Hartley transform H, real and orthogonal: a step of descent
on H is the same step on the density, and each voxel has one number. Its Fourier transform at v is
``(H(v) + H(-v))/2 + i (H(-v) - H(v))/2``. Frequency 0 lies at ``M // 2`` of each axis.
"""

import math

import numpy as np

from ooc.core.compiler import lean_kernel, prefetch, small_kernel


@small_kernel
def corner(size: int, z: float, y: float, x: float) -> int:
    """Return the place of the first of the eight voxels about a frequency, in a flat transform."""
    middle = size // 2
    k, j, i = math.floor(z) + middle, math.floor(y) + middle, math.floor(x) + middle
    return (k * size + j) * size + i


@small_kernel
def opposite(size: int) -> int:
    """Return the place from which that of a frequency is subtracted for that of its opposite."""
    return 2 * (size // 2) * (size * size + size + 1)


@lean_kernel
def ask_for(
    values: int, scales: int, out: int, size: int, item: int, z: float, y: float, x: float
) -> None:
    """Ask for what `gather` and `scatter` will use at a frequency, which lies anywhere in memory.

    Parameters
    ----------
    values, scales, out
        Addresses of transform, scales and gradient; scales are float32.
    item
        Bytes of a value of the others.
    """
    first, last = corner(size, z, y, x), opposite(size)
    for row in range(4):
        place = first + ((row >> 1) * size + (row & 1)) * size
        prefetch(scales + 4 * place)
        prefetch(values + item * place)
        prefetch(values + item * (last - place))
        prefetch(out + item * place)
        prefetch(out + item * (last - place))


@lean_kernel
def gather(
    values: np.ndarray, scales: np.ndarray, size: int, z: float, y: float, x: float
) -> tuple[float, float]:
    """Return a scaled transform at a frequency and at its opposite, interpolated.

    Parameters
    ----------
    values, scales
        (M^3,) the transform, and what each is multiplied with, the same at opposite frequencies.
    z, y, x
        Frequency; less than M/2 - 1 from 0 along each axis.
    """
    c, b, a = z - math.floor(z), y - math.floor(y), x - math.floor(x)
    first, last = corner(size, z, y, x), opposite(size)
    here, there = 0.0, 0.0
    for row in range(4):
        up, along = row >> 1, row & 1
        outer = (c if up else 1.0 - c) * (b if along else 1.0 - b)
        place = first + (up * size + along) * size
        for side in range(2):
            weight = outer * (a if side else 1.0 - a) * scales[place + side]
            here += weight * np.float64(values[place + side])
            there += weight * np.float64(values[last - place - side])
    return here, there


@lean_kernel
def scatter(
    out: np.ndarray, scales: np.ndarray, size: int, z: float, y: float, x: float,
    here: float, there: float,
) -> None:  # fmt: skip
    """Add to a transform what belongs to a frequency and its opposite: the adjoint of `gather`."""
    c, b, a = z - math.floor(z), y - math.floor(y), x - math.floor(x)
    first, last = corner(size, z, y, x), opposite(size)
    for row in range(4):
        up, along = row >> 1, row & 1
        outer = (c if up else 1.0 - c) * (b if along else 1.0 - b)
        place = first + (up * size + along) * size
        for side in range(2):
            weight = outer * (a if side else 1.0 - a) * scales[place + side]
            out[place + side] += weight * here
            out[last - place - side] += weight * there
