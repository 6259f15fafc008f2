"""The last step of the output map: each coordinate of made points gets training rows' quantiles.

It is a monotone map of one coordinate, the same for every class, and what depends on what is left
to the generator. The table of a run shows rows with it and without.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.protein_interfaces.columns import is_stable
from pipelines.protein_interfaces.coordinates import Coordinates
from pipelines.protein_interfaces.model import InterfacePair
from pipelines.protein_interfaces.quality import Rows
from pipelines.protein_interfaces.sampling import make_points

LEVELS = 401


@dataclass(frozen=True)
class Calibration:
    """Quantiles of made points and of training rows, (59, levels) each."""

    made: np.ndarray
    real: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return calibrated points, (rows, 59) float64; what is beyond all quantiles is cut off.

        Examples
        --------
        >>> doubled = Calibration(np.array([[0.0, 1.0]]), np.array([[0.0, 2.0]]))
        >>> doubled(np.array([[0.5], [7.0]])).tolist()
        [[1.0], [2.0]]
        """
        columns = zip(points.T, self.made, self.real, strict=True)
        return np.stack([np.interp(*each) for each in columns], axis=1)


def calibrate(
    model: InterfacePair, parameters: np.ndarray, known: Rows, coordinates: Coordinates, seed: int
) -> Calibration:
    """Fit the map to training rows, and to points made for the conditions that those have."""
    stable = is_stable(known.values)
    made = np.concatenate(list(make_points(model, parameters, known.labels, stable, seed)))
    levels = np.linspace(0, 1, LEVELS)
    real = coordinates.of_rows(known.values, seed)
    return Calibration(np.quantile(made, levels, axis=0).T, np.quantile(real, levels, axis=0).T)
