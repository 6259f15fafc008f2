"""The last step of the output map: made points get moments and quantiles of training rows.

Of each class a linear map gives them mean and covariance of its training rows, then a monotone map
of each coordinate the quantiles. What else depends on what is left to the generator. The table of a
run shows rows with this step and without.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.protein_interfaces.columns import CLASSES, is_stable
from pipelines.protein_interfaces.coordinates import Coordinates
from pipelines.protein_interfaces.model import InterfacePair
from pipelines.protein_interfaces.quality import Rows
from pipelines.protein_interfaces.sampling import make_points

LEVELS = 401
# From 0, that a coordinate can be.
FURTHEST = 1e3
# Of a class's covariance, what is added to variances: a class may have few rows.
RIDGE = 1e-3


@dataclass(frozen=True)
class Calibration:
    """Linear maps and quantiles.

    Attributes
    ----------
    before, after
        (9, 59) means of made points and of training rows.
    matrices
        (9, 59, 59), from the deviations of the ones to those of the others.
    made, real
        (9, 59, levels) quantiles of made points, after the linear maps, and of training rows.
    """

    before: np.ndarray
    after: np.ndarray
    matrices: np.ndarray
    made: np.ndarray
    real: np.ndarray

    def __call__(self, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return calibrated points, (rows, 59) float64; what is beyond all quantiles is cut off."""
        moved = self.straight(points, labels)
        for label in np.unique(labels):
            which = labels == label
            columns = zip(moved[which].T, self.made[label], self.real[label], strict=True)
            moved[which] = np.stack([np.interp(*each) for each in columns], axis=1)
        return moved

    def straight(self, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return points after the linear maps of their classes alone."""
        moved = points.astype(np.float64)
        for label in range(len(CLASSES)):
            which = labels == label
            deviations = moved[which] - self.before[label]
            moved[which] = deviations @ self.matrices[label] + self.after[label]
        return moved


def calibrate(
    model: InterfacePair, parameters: np.ndarray, known: Rows, coordinates: Coordinates, seed: int
) -> Calibration:
    """Fit the maps to training rows, and to points made for the conditions that those have."""
    stable = is_stable(known.values)
    made = np.concatenate(list(make_points(model, parameters, known.labels, stable, seed)))
    found = between(made.astype(np.float64), coordinates.of_rows(known.values, seed), known.labels)
    return found


def between(made: np.ndarray, real: np.ndarray, labels: np.ndarray) -> Calibration:
    """Return the calibration from made points to real ones, (rows, 59), of the same classes."""
    size = made.shape[1]
    before, after = np.zeros((2, len(CLASSES), size))
    matrices = np.tile(np.eye(size), (len(CLASSES), 1, 1))
    for label in np.unique(labels):
        one, other = made[labels == label], real[labels == label]
        before[label], after[label] = one.mean(axis=0), other.mean(axis=0)
        roots = [_root(each) for each in (one, other)]
        matrices[label] = np.linalg.solve(*roots)
    # A class that has no row stays as it is made.
    quantiles = np.tile(np.linspace(-FURTHEST, FURTHEST, LEVELS), (2, len(CLASSES), size, 1))
    found = Calibration(before, after, matrices, quantiles[0], quantiles[1])
    straight, levels = found.straight(made, labels), np.linspace(0, 1, LEVELS)
    for label in np.unique(labels):
        for each, out in zip((straight, real), quantiles, strict=True):
            out[label] = np.quantile(each[labels == label], levels, axis=0).T
    return found


def _root(points: np.ndarray) -> np.ndarray:
    """Return the symmetric root of the covariance: the map that changes points least."""
    covariance = np.cov(points, rowvar=False) + RIDGE * np.eye(points.shape[1])
    values, vectors = np.linalg.eigh(covariance)
    found: np.ndarray = (vectors * np.sqrt(values)) @ vectors.T
    return found
