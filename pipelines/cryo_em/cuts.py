"""Many slices at once: cut out of a density's transform, and put into sums of them, compiled."""

import math

import numpy as np

from ooc.core.compiler import kernel, lean_kernel
from pipelines.cryo_em.slices import scatter


@lean_kernel
def gather_slopes(transform: np.ndarray, z: float, y: float, x: float, out: np.ndarray) -> None:
    """Fill a complex transform's value at a frequency, interpolated, and its slopes.

    Parameters
    ----------
    transform
        (M, M, M, 2) float32, real and imaginary parts, frequency 0 at ``M // 2``.
    z, y, x
        Frequency, less than M/2 - 1 from 0 along each axis.
    out
        (8,) float64: value, then slopes along x, y and z, real and imaginary part of each.
    """
    middle = transform.shape[0] // 2
    floor_z, floor_y, floor_x = math.floor(z), math.floor(y), math.floor(x)
    c, b, a = z - floor_z, y - floor_y, x - floor_x
    k, j, i = int(floor_z) + middle, int(floor_y) + middle, int(floor_x) + middle
    for part in range(2):
        v000 = np.float64(transform[k, j, i, part])
        v001 = np.float64(transform[k, j, i + 1, part])
        v010 = np.float64(transform[k, j + 1, i, part])
        v011 = np.float64(transform[k, j + 1, i + 1, part])
        v100 = np.float64(transform[k + 1, j, i, part])
        v101 = np.float64(transform[k + 1, j, i + 1, part])
        v110 = np.float64(transform[k + 1, j + 1, i, part])
        v111 = np.float64(transform[k + 1, j + 1, i + 1, part])
        x00, x01 = v000 + a * (v001 - v000), v010 + a * (v011 - v010)
        x10, x11 = v100 + a * (v101 - v100), v110 + a * (v111 - v110)
        low, high = x00 + b * (x01 - x00), x10 + b * (x11 - x10)
        out[part] = low + c * (high - low)
        low = (1 - b) * (v001 - v000) + b * (v011 - v010)
        out[2 + part] = low + c * ((1 - b) * (v101 - v100) + b * (v111 - v110) - low)
        out[4 + part] = x01 - x00 + c * (x11 - x10 - x01 + x00)
        out[6 + part] = x10 + b * (x11 - x10) - x00 - b * (x01 - x00)


@kernel
def cut(
    transform: np.ndarray, ratio: float, samples: np.ndarray, rotations: np.ndarray,
    out: np.ndarray,
) -> None:  # fmt: skip
    """Fill slices (rotations, samples) complex64 of a transform.

    Parameters
    ----------
    transform
        (M, M, M, 2) float32; the band lies within it in any rotation.
    ratio
        Samples of the transform between two Fourier pixels of an image.
    samples, rotations
        See `pipelines.cryo_em.bands.half_plane`; (rotations, 3, 3) float64.
    """
    work = np.empty(8)
    for r in range(rotations.shape[0]):
        for s in range(samples.shape[0]):
            kx, ky = ratio * samples[s, 0], ratio * samples[s, 1]
            x = kx * rotations[r, 0, 0] + ky * rotations[r, 1, 0]
            y = kx * rotations[r, 0, 1] + ky * rotations[r, 1, 1]
            z = kx * rotations[r, 0, 2] + ky * rotations[r, 1, 2]
            gather_slopes(transform, z, y, x, work)
            out[r, s] = complex(work[0], work[1])


@kernel
def insert(
    slices: np.ndarray, weights: np.ndarray, ratio: float, samples: np.ndarray,
    rotations: np.ndarray, ones: np.ndarray, sums: np.ndarray, curvature: np.ndarray, size: int,
) -> None:  # fmt: skip
    """Add slices and their weights to Hartley transforms: the adjoint of `cut`.

    Parameters
    ----------
    slices, weights
        (rotations, samples) complex64 and float32.
    ones, sums, curvature
        (M^3,): float32, all 1; float64; float64.
    size
        M.
    """
    for r in range(rotations.shape[0]):
        for s in range(samples.shape[0]):
            weight = np.float64(weights[r, s])
            if weight == 0.0:
                continue
            real, imaginary = np.float64(slices[r, s].real), np.float64(slices[r, s].imag)
            kx, ky = ratio * samples[s, 0], ratio * samples[s, 1]
            x = kx * rotations[r, 0, 0] + ky * rotations[r, 1, 0]
            y = kx * rotations[r, 0, 1] + ky * rotations[r, 1, 1]
            z = kx * rotations[r, 0, 2] + ky * rotations[r, 1, 2]
            scatter(sums, ones, size, z, y, x, real - imaginary, real + imaginary)
            scatter(curvature, ones, size, z, y, x, weight, weight)
