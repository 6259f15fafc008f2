"""Projections in real space: the density is turned, and summed along the line of sight.

Nothing here is what a reconstruction inverts: no Fourier slice is taken.
"""

import math

import numpy as np
from scipy import fft

from ooc.core.compiler import kernel

FINER = 2  # times, that the density is sampled before it is interpolated


def finer(volume: np.ndarray) -> np.ndarray:
    """Return a density (box,)*3 between its voxels, (2 box,)*3 float32, for `project`.

    What linear interpolation between these will take from high frequencies is given to them here.
    """
    box, size = len(volume), FINER * len(volume)
    values = fft.fftshift(fft.fftn(fft.ifftshift(volume.astype(np.float64))))
    lost = np.sinc((np.arange(box) - box // 2) / size) ** 2
    values /= lost[:, None, None] * lost[:, None] * lost
    padded = np.zeros((size,) * 3, np.complex128)
    start = size // 2 - box // 2
    # The frequency -box/2 has no partner, and is left out.
    first = 1 - box % 2
    kept = slice(start + first, start + box)
    padded[kept, kept, kept] = values[first:, first:, first:]
    found: np.ndarray = fft.fftshift(fft.ifftn(fft.ifftshift(padded)).real) * FINER**3
    return found.astype(np.float32)


@kernel
def project(fine: np.ndarray, rotations: np.ndarray, out: np.ndarray) -> None:
    """Fill images (rows, box, box) float32 with projections of a density.

    Parameters
    ----------
    fine
        (2 box,)*3 float32, see `finer`; what lies outside of a sphere in the box is left out.
    rotations
        (rows, 3, 3).
    """
    rows, box, _ = out.shape
    size, middle = fine.shape[0], box // 2
    centre, reach = 2 * middle, (box - 1) // 2 - 0.5
    for r in range(rows):
        turn = rotations[r].astype(np.float32)
        for v in range(box):
            for u in range(box):
                x, y = np.float32(u - middle), np.float32(v - middle)
                left = np.float32(reach * reach) - x * x - y * y
                total = np.float32(0)
                if left > 0:
                    steps = int(2.0 * math.sqrt(left))
                    fx = np.float32(centre) + 2 * (turn[0, 0] * x + turn[1, 0] * y)
                    fy = np.float32(centre) + 2 * (turn[0, 1] * x + turn[1, 1] * y)
                    fz = np.float32(centre) + 2 * (turn[0, 2] * x + turn[1, 2] * y)
                    for w in range(-steps, steps + 1):
                        px, py, pz = fx + w * turn[2, 0], fy + w * turn[2, 1], fz + w * turn[2, 2]
                        i, j, k = int(px), int(py), int(pz)
                        a, b, c = px - i, py - j, pz - k
                        if i + 1 >= size or j + 1 >= size or k + 1 >= size:
                            continue
                        low = (1 - b) * ((1 - a) * fine[k, j, i] + a * fine[k, j, i + 1]) + b * (
                            (1 - a) * fine[k, j + 1, i] + a * fine[k, j + 1, i + 1]
                        )
                        k += 1
                        high = (1 - b) * ((1 - a) * fine[k, j, i] + a * fine[k, j, i + 1]) + b * (
                            (1 - a) * fine[k, j + 1, i] + a * fine[k, j + 1, i + 1]
                        )
                        total += (1 - c) * low + c * high
                out[r, v, u] = np.float32(0.5) * total
