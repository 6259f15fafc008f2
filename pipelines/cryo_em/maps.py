"""Densities: made of ellipsoids and helices, and of MRC files."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from scipy import fft

from ooc.core.errors import InputError
from ooc.core.random_keys import Purpose, generator

RIBOSOME, RIBOSOME_PIXEL = "ribosome-70S-65.mrc", 5.0
# Radius of the smallest parts, in voxels.
FINE = 0.7


def package(name: str) -> Any:
    """Return an optional package.

    Raises
    ------
    InputError
        If it is not installed, with the line that installs it.
    """
    try:
        return import_module(name)
    except ImportError:
        raise InputError(f"{name} is not installed; pip install {name}") from None


def make_map(box: int, seed: int = 0) -> np.ndarray:
    """Make a density (box,)*3 float32, z first: ellipsoids, and helices of small Gaussians.

    It has no symmetry, lies within 0.4 boxes of its centre, and has detail up to Nyquist.

    Examples
    --------
    >>> make_map(16).shape, bool(make_map(16).max() > 0.5)
    ((16, 16, 16), True)
    """
    rng = generator(seed, Purpose.TRUTH)
    place = np.arange(box) - box // 2
    grid = np.stack(np.meshgrid(place, place, place, indexing="ij"))
    found = np.zeros((box,) * 3)
    for _ in range(5):
        centre = rng.uniform(-0.17, 0.17, 3) * box
        axes = np.linalg.qr(rng.standard_normal((3, 3)))[0] / (
            rng.uniform(0.06, 0.16, 3)[:, None] * box
        )
        away = np.einsum("ij,jzyx->izyx", axes, grid - centre[:, None, None, None])
        found += 0.3 / (1 + np.exp(np.clip(6 * (np.sqrt((away**2).sum(0)) - 1), -50, 50)))
    for _ in range(max(6, box // 3)):
        start = rng.standard_normal(3)
        start *= rng.uniform(0.05, 0.26) * box / np.linalg.norm(start)
        _add_helix(found, start, np.linalg.qr(rng.standard_normal((3, 3)))[0], 0.2 * box)
    # Nothing lies outside of a sphere.
    radius = np.sqrt((grid**2).sum(0))
    found *= 1 / (1 + np.exp(np.clip(2 * (radius - 0.4 * box), -50, 50)))
    return found.astype(np.float32)


def _add_helix(out: np.ndarray, start: np.ndarray, axes: np.ndarray, length: float) -> None:
    """Add Gaussians along a helix whose turns are four voxels apart."""
    box = len(out)
    for step in np.arange(0, length, 0.5):
        turn = 2 * np.pi * step / 4.0
        local = np.array([1.8 * np.cos(turn), 1.8 * np.sin(turn), step - length / 2])
        centre = start + local @ axes + box // 2
        low = np.maximum(np.floor(centre).astype(int) - 3, 0)
        high = np.minimum(low + 8, box)
        if np.any(low >= high):
            continue
        along = [
            np.exp(-((np.arange(a, b) - c) ** 2) / (2 * FINE**2))
            for a, b, c in zip(low, high, centre, strict=True)
        ]
        out[tuple(map(slice, low, high))] += np.einsum("z,y,x->zyx", *along)


def real_map(box: int) -> tuple[np.ndarray, float] | None:
    """Return the ribosome (box,)*3 and its pixel in A, of the folder `OOC_REAL_DATA`; or None."""
    folder = os.environ.get("OOC_REAL_DATA")
    path = Path(folder or ".", RIBOSOME)
    if folder is None or not path.exists():
        return None
    volume, pixel = read_map(path, RIBOSOME_PIXEL)
    return fitted(volume, pixel, box)


def read_map(path: Path, pixel: float | None = None) -> tuple[np.ndarray, float]:
    """Read a density, z first, and its pixel in A.

    Parameters
    ----------
    pixel
        In place of what the file says.

    Raises
    ------
    InputError
        If it is no MRC file of a cube, or has no pixel size.
    """
    mrcfile = package("mrcfile")
    if not path.exists():
        raise InputError(f"{path} does not exist; name an MRC file of a density")
    try:
        with mrcfile.open(path, permissive=False) as file:
            volume = np.array(file.data, np.float32)
            told = float(file.voxel_size.x)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is no MRC file: {error}; name one of a density") from None
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise InputError(f"{path} has shape {volume.shape}, and a density is a cube; pad it to one")
    if not np.isfinite(volume).all():
        raise InputError(f"{path} has voxels that are not finite; mend the map")
    found = told if pixel is None else pixel
    if not found > 0:
        raise InputError(
            f"{path} has no pixel size: its header says {told:g} A; give it with --pixel"
        )
    return volume, found


def write_map(path: Path, volume: np.ndarray, pixel: float) -> None:
    """Write a density as MRC, whole or not at all.

    Raises
    ------
    InputError
        If mrcfile is not installed.
    """
    mrcfile = package("mrcfile")
    partial = path.with_suffix(".partial.mrc")
    with mrcfile.new(partial, overwrite=True) as file:
        file.set_data(np.ascontiguousarray(volume, np.float32))
        file.voxel_size = pixel
    partial.replace(path)


def fitted(volume: np.ndarray, pixel: float, box: int) -> tuple[np.ndarray, float]:
    """Return a density in a box of so many voxels, and its pixel.

    A box that is at most a voxel smaller is cut out; else the Fourier transform is, so that the
    density covers the same space with larger or smaller voxels.
    """
    size = len(volume)
    if 0 <= size - box <= 1:
        start = size // 2 - box // 2
        return volume[(slice(start, start + box),) * 3].copy(), pixel
    values = fft.fftshift(fft.fftn(fft.ifftshift(volume)))
    kept = np.zeros((box,) * 3, np.complex128)
    half = (min(size, box) - 1) // 2
    old, new = (slice(side // 2 - half, side // 2 + half + 1) for side in (size, box))
    kept[new, new, new] = values[old, old, old]
    found = fft.fftshift(fft.ifftn(fft.ifftshift(kept)).real) * (box / size) ** 3
    return found.astype(np.float32), pixel * size / box
