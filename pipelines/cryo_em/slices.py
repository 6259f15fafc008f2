"""Fourier slices by trilinear interpolation, and their exact adjoint, compiled.

A density of M^3 voxels is held by its Hartley transform H, real and orthogonal: a step of descent
on H is the same step on the density, and each voxel has one number. Its Fourier transform at v is
``(H(v) + H(-v))/2 + i (H(-v) - H(v))/2``. Frequency 0 lies at ``M // 2`` of each axis.
"""

import math

import numpy as np

from ooc.core.compiler import lean_kernel


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
    k, j, i = math.floor(z), math.floor(y), math.floor(x)
    c, b, a = z - k, y - j, x - i
    middle = size // 2
    first = ((int(k) + middle) * size + int(j) + middle) * size + int(i) + middle
    last = 2 * middle * (size * size + size + 1)
    here, there = 0.0, 0.0
    for corner in range(4):
        up, along = corner >> 1, corner & 1
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
    k, j, i = math.floor(z), math.floor(y), math.floor(x)
    c, b, a = z - k, y - j, x - i
    middle = size // 2
    first = ((int(k) + middle) * size + int(j) + middle) * size + int(i) + middle
    last = 2 * middle * (size * size + size + 1)
    for corner in range(4):
        up, along = corner >> 1, corner & 1
        outer = (c if up else 1.0 - c) * (b if along else 1.0 - b)
        place = first + (up * size + along) * size
        for side in range(2):
            weight = outer * (a if side else 1.0 - a) * scales[place + side]
            out[place + side] += weight * here
            out[last - place - side] += weight * there
