"""Direct Fourier inversion with Wiener weights, as relion_reconstruct does it.

All images are put into the density's Fourier transform by the adjoint of slices, and each voxel is
divided by the sum of its weights (the curvature) and by what its signal-to-noise ratio adds to that
(Scheres 2012), which the Fourier shell correlation of the halves tells.
"""

import time
from dataclasses import dataclass, replace

import numpy as np

import ooc
from ooc.core.process import peak_bytes
from pipelines.common.dataset import Dataset, progress
from pipelines.cryo_em.model import Density, from_hartley
from pipelines.cryo_em.resolution import correlate
from pipelines.cryo_em.training import curvature_of, forget_peak

FLOOR = 0.01  # of the mean curvature of all voxels, where no prior is known yet


@dataclass(frozen=True)
class Inversion:
    """What direct inversion gives.

    Attributes
    ----------
    halves
        Two volumes (box,)*3 float32.
    seconds, peak
        Of both: time, and the process's largest memory in bytes.
    """

    halves: tuple[np.ndarray, np.ndarray]
    seconds: float
    peak: int


def invert(
    halves: tuple[Dataset, Dataset], model: Density, mask: np.ndarray, memory: str
) -> Inversion:
    """Reconstruct both halves without descent."""
    forget_peak()
    begun = time.perf_counter()
    plain = model if model.scales is None else replace(model, scales=None)
    with progress("direct inversion"):
        sums = [_numerator(half, plain, memory) for half in halves]
        weights = [curvature_of(half, plain, half.rows) for half in halves]
        first = _solve(plain, sums, weights, None)
        correlation = correlate(first[0] * mask, first[1] * mask, model.pixel).values
        ratio = np.clip(correlation, 0.01, 0.999) / (1 - np.clip(correlation, 0.01, 0.999))
        one, other = _solve(plain, sums, weights, ratio)
    return Inversion((one, other), time.perf_counter() - begun, peak_bytes())


def _numerator(half: Dataset, plain: Density, memory: str) -> np.ndarray:
    """Return what all images put into the transform, a mean over images: one full gradient at 0."""
    trainer = ooc.Trainer(plain, ooc.optim.sgd(1.0), "full", memory=memory)
    found: np.ndarray = trainer.fit(half, 1, report=False).parameters
    return found.reshape((plain.size,) * 3)


def _solve(
    model: Density, sums: list[np.ndarray], weights: list[np.ndarray], ratio: np.ndarray | None
) -> list[np.ndarray]:
    """Divide by weights and prior; `ratio` is the signal-to-noise ratio of each shell."""
    pairs = zip(sums, weights, strict=True)
    return [divide(numerator, weight, model.box, ratio) for numerator, weight in pairs]


def divide(
    numerator: np.ndarray, weight: np.ndarray, box: int, ratio: np.ndarray | None
) -> np.ndarray:
    """Return the density (box,)*3 float32 of what images put into its transform.

    Parameters
    ----------
    numerator, weight
        (M, M, M): sums of images and of their curvature.
    ratio
        Signal-to-noise ratio of each shell; None: no prior but a little everywhere.
    """
    size = len(weight)
    along = np.square(np.arange(size) - size // 2, dtype=np.float32)
    away = np.sqrt(along[:, None, None] + along[:, None] + along)
    known = weight > 0
    least = FLOOR * weight[known].mean()
    if ratio is None:
        prior: np.ndarray | float = least
    else:
        shells = np.minimum(np.rint(away * box / size), len(ratio) - 1)
        shells = shells.astype(np.int64)
        counts = np.maximum(np.bincount(shells[known], minlength=len(ratio)), 1)
        of_shell = np.bincount(shells[known], weight[known], len(ratio)) / counts
        prior = least + (of_shell / ratio)[shells]
    return from_hartley(numerator / (weight + prior), box)
