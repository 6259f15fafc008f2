"""Generated images, written out of core: particles in poses, their optics, shifts and noise."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import fft

from ooc.core.errors import InputError
from ooc.core.progress import Report
from ooc.core.random_keys import Purpose, generator
from pipelines.common.dataset import Columns, Dataset, open_or_make, write
from pipelines.cryo_em.optics import OPTICS, transfer_function
from pipelines.cryo_em.poses import random_rotations
from pipelines.cryo_em.projection import FINER, finer, project

VOLTAGE, SPHERICAL, AMPLITUDE = 300.0, 2.7, 0.1  # kV, mm, share
DEFOCUS, ASTIGMATISM, ENVELOPE = (1e4, 2.5e4), 400.0, (50.0, 100.0)  # A, A, A^2
MOST_SHIFT = 2.0  # pixels
# The noise's spectrum falls from 1 + COLOUR at frequency 0 to 1, by half at a fifth of Nyquist.
COLOUR = 3.0
SAMPLE = 64  # images from which the signal's variance is taken


@dataclass(frozen=True)
class Imaging:
    """How images are made of a density.

    Attributes
    ----------
    snr
        Signal-to-noise ratio: variance of the clean images' pixels (with transfer function, over
        the whole box, a mean over images) divided by the variance of the noise's pixels, which is
        1.
    preferred
        Share of images in one of three preferred views.

    Raises
    ------
    InputError
        If the ratio is not positive, or the share is none.
    """

    snr: float = 0.1
    preferred: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.snr > 0:
            raise InputError(f"a signal-to-noise ratio is positive, not {self.snr}")
        if not 0 <= self.preferred <= 1:
            raise InputError(f"the share of preferred views is from 0 to 1, not {self.preferred}")


def spectrum_of(box: int) -> np.ndarray:
    """Return the noise's variances on the frequencies of `rfft2`, of mean 1 over all pixels."""
    radius = np.hypot(fft.fftfreq(box)[:, None], fft.rfftfreq(box))
    found = 1 + COLOUR / (1 + (radius / 0.1) ** 2)
    whole = 1 + COLOUR / (1 + (np.hypot(*np.meshgrid(*[fft.fftfreq(box)] * 2)) / 0.1) ** 2)
    spectrum: np.ndarray = found / whole.mean()
    return spectrum


def draw_optics(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw the optics of images, (count, 8) float32, see `pipelines.cryo_em.optics`."""
    mean, apart = rng.uniform(*DEFOCUS, count), rng.normal(0, ASTIGMATISM, count)
    columns = {
        "defocus_u": mean + apart / 2, "defocus_v": mean - apart / 2,
        "angle": rng.uniform(0, np.pi, count), "envelope": rng.uniform(*ENVELOPE, count),
        "voltage": np.full(count, VOLTAGE), "spherical": np.full(count, SPHERICAL),
        "amplitude": np.full(count, AMPLITUDE), "phase": np.zeros(count),
    }  # fmt: skip
    return np.stack([columns[name] for name in OPTICS], axis=1).astype(np.float32)


def clean_images(
    fine: np.ndarray,
    rotations: np.ndarray,
    shifts: np.ndarray,
    optics: np.ndarray,
    pixel: float,
) -> np.ndarray:
    """Return images without noise, (rows, box, box) float32.

    Parameters
    ----------
    fine
        The density, see `pipelines.cryo_em.projection.finer`.
    """
    box = fine.shape[1] // FINER
    images = np.empty((len(rotations), box, box), np.float32)
    project(fine, np.ascontiguousarray(rotations, np.float32), images)
    ky, kx = fft.fftfreq(box, 1 / box)[:, None], fft.rfftfreq(box, 1 / box)
    turns = np.exp(-2j * np.pi / box * (kx * shifts[:, :1, None] + ky * shifts[:, 1:, None]))
    values = fft.rfft2(images) * transfer_function(optics, kx, ky, pixel, box) * turns
    found: np.ndarray = fft.irfft2(values, (box, box))
    return found.astype(np.float32)


@dataclass(frozen=True)
class Camera:
    """What turns random numbers into images of a density.

    Attributes
    ----------
    fine
        The density, see `pipelines.cryo_em.projection.finer`.
    gain
        What clean images are multiplied with, for noise of variance 1.
    """

    fine: np.ndarray
    pixel: float
    imaging: Imaging
    gain: float = 1.0

    def draw(self, chunk: int, count: int, is_clean: bool = False) -> Columns:
        """Draw the images of a chunk with poses, shifts and optics."""
        purpose = Purpose.HELD_OUT_DATA if is_clean else Purpose.DATA
        box = self.fine.shape[1] // FINER
        rng = generator(self.imaging.seed, purpose, index=chunk)
        rotations = random_rotations(rng, count, self.imaging.preferred)
        shifts = rng.uniform(-MOST_SHIFT, MOST_SHIFT, (count, 2)).astype(np.float32)
        optics = draw_optics(rng, count)
        images = self.gain * clean_images(self.fine, rotations, shifts, optics, self.pixel)
        if not is_clean:
            white = rng.standard_normal(images.shape, np.float32)
            coloured = fft.rfft2(white) * np.sqrt(spectrum_of(box)).astype(np.float32)
            images += fft.irfft2(coloured, (box, box))
        return {"X": images, "rotation": rotations, "shift": shifts, "optics": optics}


def camera_of(volume: np.ndarray, pixel: float, imaging: Imaging) -> Camera:
    """Return the camera whose images have the signal-to-noise ratio that was asked for.

    Raises
    ------
    InputError
        If the density is empty.
    """
    camera = Camera(finer(volume), pixel, imaging)
    variance = camera.draw(0, SAMPLE, is_clean=True)["X"].var(axis=(1, 2), dtype=np.float64).mean()
    if not variance > 0:
        raise InputError("the density is empty: its projections do not vary")
    return Camera(camera.fine, pixel, imaging, float(np.sqrt(imaging.snr / variance)))


def open_images(
    folder: Path, volume: np.ndarray, pixel: float, rows: int, imaging: Imaging
) -> Dataset:
    """Open generated images of a density, made first if they are not there.

    Raises
    ------
    InputError
        If what is there was made otherwise.
    """
    box = len(volume)
    path = folder / f"images-{rows}-{box}-snr{imaging.snr:g}-seed{imaging.seed}.zarr"
    expected = {"rows": rows, **attributes_of(volume, pixel, imaging)}
    return open_or_make(
        path, expected, lambda report: make(path, volume, pixel, rows, imaging, report)
    )


def attributes_of(volume: np.ndarray, pixel: float, imaging: Imaging) -> dict[str, object]:
    """Return what such a store says of itself."""
    return {
        **asdict(imaging),
        "pixel": pixel,
        "map_sha256": hashlib.sha256(volume.tobytes()).hexdigest(),
    }


def make(
    path: Path, volume: np.ndarray, pixel: float, rows: int, imaging: Imaging, report: Report
) -> None:
    """Write images "X" (box, box) with "rotation", "shift" and "optics", chunk by chunk."""
    camera, box = camera_of(volume, pixel, imaging), len(volume)
    fields = {
        "X": ("float32", (box, box)), "rotation": ("float32", (3, 3)),
        "shift": ("float32", (2,)), "optics": ("float32", (len(OPTICS),)),
    }  # fmt: skip
    attributes = {**attributes_of(volume, pixel, imaging), "gain": camera.gain}
    write(path, fields, attributes, rows, lambda number, first, count: camera.draw(number, count),
          report=report)  # fmt: skip
