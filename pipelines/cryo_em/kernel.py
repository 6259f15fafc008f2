"""The density's part of the window loop: loss and gradient of a share of images, compiled.

With an image's orthonormal Fourier transform y(k), centred by its shift, the transfer function
c(k), the noise's variance s2 at |k| and the slice f(k) of the density, the loss of a row is

    1/2 sum_k |c(k) f(k) - y(k)|^2 / s2(|k|)      over |k| below Nyquist,

half of the plane standing for all of it. Parameters w are the Hartley transform of the density,
each divided by a scale: with scales that are one over the roots of the curvature, descent is
preconditioned by that diagonal.
"""

import math

import numpy as np

from ooc.core.compiler import array_at, lean_kernel, small_kernel, view_at
from ooc.kernels.counters import NOT_FINITE, OK
from ooc.kernels.share import BAD, Numbers, Output, Share
from pipelines.cryo_em.optics import constants_of, transfer
from pipelines.cryo_em.slices import ask_for, gather, scatter

# Integers: pixels of an image's side, of the density's, samples of half a plane; then those, as
# (kx, ky, ring). Reals: a Fourier pixel in 1/A, then 1/s2 of each ring, cas of the image's
# transform (box, box), and the scales (M^3), which are float32 to be read in half of the time.
BOX, SIZE, SAMPLES, TABLE = range(4)
UNIT, RINGS = range(2)
ROTATION, SHIFT = 9, 2
# So many samples ahead their voxels are asked for.
NEAR = 2
_SINGLE = np.float32(0)


@small_kernel
def scales_place(numbers: Numbers) -> int:
    """Return the address of the scales."""
    box = numbers.integers[BOX]
    return numbers.reals.ctypes.data + 8 * (RINGS + box // 2 + 1 + box * box)


@lean_kernel
def multiply(source: np.ndarray, first: int, matrix: np.ndarray, out: np.ndarray) -> None:
    """Fill `out`, (x, k), with the sums over y of a matrix (y, x), from `first` on, and C (y, k).

    All are flat and square. Done twice it is ``C image C``, for C is symmetric.
    """
    box = int(math.sqrt(matrix.size) + 0.5)
    for x in range(box):
        row = view_at(out, x * box, (box,))
        for k in range(box):
            row[k] = 0.0
        for y in range(box):
            value, start = source[first + y * box + x], y * box
            for k in range(box):
                row[k] += value * matrix[start + k]


@lean_kernel
def fill_phases(shift: float, box: int, phases: np.ndarray) -> None:
    """Fill (2 box,) cosines and sines of 2 pi k shift / box for k from -box // 2 on."""
    for place in range(box):
        angle = 2.0 * math.pi * (place - box // 2) * shift / box
        phases[2 * place] = math.cos(angle)
        phases[2 * place + 1] = math.sin(angle)


@small_kernel
def turned(
    further: np.ndarray, first: int, across: float, down: float
) -> tuple[float, float, float]:
    """Return where a frequency of an image lies in the density: x, y and z."""
    return (
        across * np.float64(further[first]) + down * np.float64(further[first + 3]),
        across * np.float64(further[first + 1]) + down * np.float64(further[first + 4]),
        across * np.float64(further[first + 2]) + down * np.float64(further[first + 5]),
    )


@lean_kernel
def add_image(
    numbers: Numbers,
    further: np.ndarray,
    first: int,
    spectrum: np.ndarray,
    phases: np.ndarray,
    parameters: np.ndarray,
    gradient: np.ndarray,
) -> float:
    """Add an image's part of the gradient, and return its loss, NaN of a pose that is none.

    `further` holds rotation, shift and optics, from `first` on; `spectrum` is the image's
    transform; `phases` is scratch, (4 box,).
    """
    n, reals = numbers.integers, numbers.reals
    box, size, samples = n[BOX], n[SIZE], n[SAMPLES]
    middle = box // 2
    scales = array_at(scales_place(numbers), (size * size * size,), _SINGLE)
    constants = constants_of(further, first + ROTATION + SHIFT, reals[UNIT])
    across, down = view_at(phases, 0, (2 * box,)), view_at(phases, 2 * box, (2 * box,))
    fill_phases(np.float64(further[first + ROTATION]), box, across)
    fill_phases(np.float64(further[first + ROTATION + 1]), box, down)
    ratio, reach, total = size / box, size / 2 - 1, 0.0
    addresses = (parameters.ctypes.data, scales.ctypes.data, gradient.ctypes.data)
    for s in range(samples):
        if s + NEAR < samples:
            kx, ky = n[TABLE + 3 * (s + NEAR)], n[TABLE + 3 * (s + NEAR) + 1]
            x, y, z = turned(further, first, ratio * kx, ratio * ky)
            if max(abs(x), abs(y), abs(z)) < reach:
                ask_for(*addresses, size, parameters.itemsize, z, y, x)
        kx, ky = n[TABLE + 3 * s], n[TABLE + 3 * s + 1]
        weight = reals[RINGS + n[TABLE + 3 * s + 2]]
        right, left, below, above = middle + kx, middle - kx, middle + ky, middle - ky
        plus = np.float64(spectrum[below * box + right])
        minus = np.float64(spectrum[above * box + left])
        one = np.float64(spectrum[below * box + left])
        other = np.float64(spectrum[above * box + right])
        real, imaginary = 0.5 * (one + other), 0.5 * (minus - plus)
        cx, sx = np.float64(across[2 * right]), np.float64(across[2 * right + 1])
        cy, sy = np.float64(down[2 * below]), np.float64(down[2 * below + 1])
        cosine, sine = cx * cy - sx * sy, cx * sy + sx * cy
        real, imaginary = real * cosine - imaginary * sine, real * sine + imaginary * cosine
        x, y, z = turned(further, first, ratio * kx, ratio * ky)
        if not max(abs(x), abs(y), abs(z)) < reach:
            return np.nan  # of no rotation: nothing is read or written beyond the box
        here, there = gather(parameters, scales, size, z, y, x)
        contrast = transfer(constants, float(kx), float(ky))
        away_real = 0.5 * contrast * (here + there) - real
        away_imaginary = 0.5 * contrast * (there - here) - imaginary
        if kx == 0 and ky == 0:
            weight *= 0.5
        total += weight * (away_real * away_real + away_imaginary * away_imaginary)
        slope = weight * contrast
        scatter(
            gradient, scales, size, z, y, x, slope * (away_real - away_imaginary),
            slope * (away_real + away_imaginary),
        )  # fmt: skip
    return total


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share; see `ooc.kernels.share.accumulate_of`.

    `own` holds two transforms of an image, its matrix, and phases.
    """
    n = numbers.integers
    box, rows = n[BOX], share.features.shape[0]
    area, further = box * box, share.further.shape[1]
    half, spectrum = view_at(own, 0, (area,)), view_at(own, area, (area,))
    matrix = view_at(own, 2 * area, (area,))
    phases = view_at(own, 3 * area, (4 * box,))
    images = view_at(share.features, 0, (rows * area,))
    poses = view_at(share.further, 0, (rows * further,))
    cas = RINGS + box // 2 + 1
    for place in range(area):
        matrix[place] = numbers.reals[cas + place]
    for place in range(output.gradient.size):
        output.gradient[place] = 0.0
    total = 0.0
    for r in range(rows):
        multiply(images, r * area, matrix, half)
        multiply(half, 0, matrix, spectrum)
        loss = add_image(numbers, poses, r * further, spectrum, phases, parameters, output.gradient)
        if not math.isfinite(loss):
            output.report[BAD] = r
            return NOT_FINITE
        total += loss
    output.terms[0] = total
    return OK


@lean_kernel
def add_curvature(numbers: Numbers, further: np.ndarray, out: np.ndarray) -> None:
    """Add the row sums of the second derivative by the transform, all scales being 1.

    No eigenvalue of the second derivative divided by them exceeds 1 (Gershgorin).

    Parameters
    ----------
    further
        (rows, 19) float64, rotation, shift and optics.
    out
        (M^3,) float64.
    """
    n, reals = numbers.integers, numbers.reals
    box, size, samples = n[BOX], n[SIZE], n[SAMPLES]
    rows, columns = further.shape
    flat = view_at(further, 0, (rows * columns,))
    scales = array_at(scales_place(numbers), (size * size * size,), _SINGLE)
    ratio, reach = size / box, size / 2 - 1
    addresses = (out.ctypes.data, scales.ctypes.data, out.ctypes.data)
    for r in range(rows):
        first = r * columns
        constants = constants_of(flat, first + ROTATION + SHIFT, reals[UNIT])
        for s in range(samples):
            if s + NEAR < samples:
                kx, ky = n[TABLE + 3 * (s + NEAR)], n[TABLE + 3 * (s + NEAR) + 1]
                x, y, z = turned(flat, first, ratio * kx, ratio * ky)
                if max(abs(x), abs(y), abs(z)) < reach:
                    ask_for(*addresses, size, out.itemsize, z, y, x)
            kx, ky = n[TABLE + 3 * s], n[TABLE + 3 * s + 1]
            contrast = transfer(constants, float(kx), float(ky))
            value = reals[RINGS + n[TABLE + 3 * s + 2]] * contrast * contrast
            if kx == 0 and ky == 0:
                value *= 0.5
            x, y, z = turned(flat, first, ratio * kx, ratio * ky)
            if max(abs(x), abs(y), abs(z)) < reach:
                scatter(out, scales, size, z, y, x, value, value)
