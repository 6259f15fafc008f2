"""Fourier shell correlation, and the resolution that it tells."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

HALVES, TRUTH = 0.143, 0.5  # thresholds: half against half, and against the truth


@dataclass(frozen=True)
class Correlation:
    """Correlation of two densities in shells of spatial frequency.

    Attributes
    ----------
    values
        (shells,) from 0 to the last one below Nyquist.
    pixel, box
        In A, and voxels along a side.
    """

    values: np.ndarray
    pixel: float
    box: int

    def shell(self, threshold: float) -> float:
        """Return where the correlation falls below a threshold for the first time.

        Between shells it is interpolated; the last shell where it never does.

        Examples
        --------
        >>> Correlation(np.array([1.0, 0.9, 0.1, 0.8]), 5.0, 8).shell(0.5)
        1.5
        """
        below = np.flatnonzero(~(self.values[1:] >= threshold))
        if len(below) == 0:
            return float(len(self.values) - 1)
        after = int(below[0]) + 1
        if after == 1:
            return 1.0
        high, low = self.values[after - 1], self.values[after]
        return float(after - 1 + (high - threshold) / (high - low))

    def resolution(self, threshold: float) -> float:
        """Return the resolution in A at a threshold."""
        return self.box * self.pixel / self.shell(threshold)

    @property
    def frequencies(self) -> np.ndarray:
        """Spatial frequency of each shell, 1/A."""
        found: np.ndarray = np.arange(len(self.values)) / (self.box * self.pixel)
        return found


def correlate(one: np.ndarray, other: np.ndarray, pixel: float) -> Correlation:
    """Return the Fourier shell correlation of two densities, (box,)*3 each."""
    box = len(one)
    a, b = (fft.rfftn(each.astype(np.float64)) for each in (one, other))
    shells = shells_of(box)
    last = (box - 1) // 2
    inside = shells <= last

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(shells[inside], values[inside], last + 1)

    # Of the half that is not there the sums are the same, but for the planes that have both.
    weight = np.full(a.shape, 2.0)
    weight[:, :, 0] = 1.0
    both = summed(weight * (a * b.conj()).real)
    powers = summed(weight * np.abs(a) ** 2) * summed(weight * np.abs(b) ** 2)
    values = np.divide(both, np.sqrt(powers), out=np.zeros(last + 1), where=powers > 0)
    return Correlation(values, pixel, box)


def shells_of(box: int) -> np.ndarray:
    """Return the shell of each coefficient of `scipy.fft.rfftn` of a cube."""
    along, half = fft.fftfreq(box, 1 / box), fft.rfftfreq(box, 1 / box)
    radius = np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + half**2)
    shells: np.ndarray = np.rint(radius).astype(np.int64)
    return shells


def soft_sphere(box: int, radius: float, edge: float = 3.0) -> np.ndarray:
    """Return a mask (box,)*3: 1 inside a radius in voxels, falling to 0 along half a cosine."""
    along = np.arange(box) - box // 2
    away = np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + along**2)
    mask: np.ndarray = 0.5 + 0.5 * np.cos(np.pi * np.clip((away - radius) / edge, 0, 1))
    return mask


def weighted(volume: np.ndarray, correlation: Correlation) -> np.ndarray:
    """Weight shells by what halves have in common (Rosenthal and Henderson 2003)."""
    common = np.clip(correlation.values, 0, 1)
    weights = np.sqrt(2 * common / (1 + common))
    shells = np.minimum(shells_of(len(volume)), len(weights) - 1)
    found: np.ndarray = fft.irfftn(fft.rfftn(volume) * weights[shells], volume.shape)
    return found
