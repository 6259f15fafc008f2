"""A band of spatial frequencies: what of images and of a density lies up to a ring.

Images are compared with slices by their Fourier coefficients on half a plane, the lowest
frequencies first, so that a lower band is a prefix of a higher one. The density of a band has its
own box, no larger than it must be.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft

from ooc.core.errors import InputError
from pipelines.cryo_em.model import to_hartley
from pipelines.cryo_em.optics import transfer_function

PADDING = 2  # a density's transform is sampled so many times finer than its box asks for
SPARE = 4  # voxels of a box beyond the band


def half_plane(last: int) -> np.ndarray:
    """Return (samples, 3) int64: kx, ky and ring |k| up to a ring, by rings.

    The other half of the plane is their conjugate.

    Examples
    --------
    >>> half_plane(1).tolist()
    [[0, 0, 0], [0, 1, 1], [1, -1, 1], [1, 0, 1], [1, 1, 1]]
    """
    reach = np.arange(-last, last + 1)
    kx, ky = (each.reshape(-1) for each in np.meshgrid(reach, reach, indexing="ij"))
    rings = np.rint(np.hypot(kx, ky)).astype(np.int64)
    chosen = np.flatnonzero((rings <= last) & ((kx > 0) | ((kx == 0) & (ky >= 0))))
    chosen = chosen[np.argsort(rings[chosen], kind="stable")]
    return np.stack([kx[chosen], ky[chosen], rings[chosen]], axis=1)


@dataclass(frozen=True)
class Band:
    """Frequencies up to a ring of images of a box.

    Attributes
    ----------
    last
        The last ring, in Fourier pixels of the images.
    box
        Pixels along an image's side.
    noise
        Variance of the noise of each ring, see `pipelines.cryo_em.model.Density`.

    Raises
    ------
    InputError
        If the images are too small for the band, or their side is odd.
    """

    last: int
    box: int
    noise: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.box % 2:
            raise InputError(
                f"images of {self.box} x {self.box} pixels have no even side; crop or pad them by "
                "one pixel"
            )
        if not 1 <= self.last <= (self.box - 1) // 2:
            raise InputError(
                f"images of {self.box} x {self.box} pixels hold rings 1 to {(self.box - 1) // 2}, "
                f"and not a band up to ring {self.last}; take a lower one, or larger images"
            )

    @property
    def inner(self) -> int:
        """Voxels along the side of the density's box, even; it covers the space of the images."""
        return min(self.box, 2 * self.last + SPARE)

    @property
    def size(self) -> int:
        """M, samples along a side of the density's transform."""
        return PADDING * self.inner

    @cached_property
    def samples(self) -> np.ndarray:
        """See `half_plane`."""
        return half_plane(self.last)

    @cached_property
    def weights(self) -> np.ndarray:
        """(samples,) float32: what the square of a difference adds to the loss of an image."""
        found = 1 / np.array(self.noise)[self.samples[:, 2]]
        found[0] /= 2  # frequency 0 is its own conjugate
        return found.astype(np.float32)

    def count(self, last: int) -> int:
        """Return how many samples lie up to a ring."""
        return int(np.searchsorted(self.samples[:, 2], last, side="right"))

    def transform(self, volume: np.ndarray) -> np.ndarray:
        """Return the complex transform (M, M, M, 2) float32 of a density (inner,)*3."""
        hartley = to_hartley(volume, self.size)
        mirrored = np.zeros_like(hartley)
        mirrored[1:, 1:, 1:] = hartley[:0:-1, :0:-1, :0:-1]
        found = np.empty((*hartley.shape, 2), np.float32)
        found[..., 0] = 0.5 * (hartley + mirrored)
        found[..., 1] = 0.5 * (mirrored - hartley)
        return found


@dataclass(frozen=True)
class Spectra:
    """A batch of images within a band.

    Attributes
    ----------
    values
        (rows, samples) complex64, orthonormal Fourier coefficients.
    contrast
        (rows, samples) float32, transfer functions.
    """

    values: np.ndarray
    contrast: np.ndarray

    def take(self, rows: np.ndarray) -> "Spectra":
        """Return some rows."""
        return Spectra(self.values[rows], self.contrast[rows])


def spectra_of(images: np.ndarray, optics: np.ndarray, band: Band, pixel: float) -> Spectra:
    """Transform images (rows, box, box) with optics (rows, 8)."""
    centred = fft.ifftshift(images.astype(np.float32, copy=False), axes=(1, 2))
    whole = fft.rfft2(centred) / np.float32(band.box)
    kx, ky = band.samples[:, 0], band.samples[:, 1]
    values = np.ascontiguousarray(whole[:, ky, kx], np.complex64)
    contrast = transfer_function(optics, kx, ky, pixel, band.box)
    return Spectra(values, contrast.astype(np.float32))


def phase_ramps(shifts: np.ndarray, band: Band) -> np.ndarray:
    """Return (shifts, samples) complex64, by which images of shifts (shifts, 2) are centred."""
    angles = 2 * np.pi / band.box * (shifts @ band.samples[:, :2].T)
    found: np.ndarray = np.exp(1j * angles).astype(np.complex64)
    return found
