"""Rows that a trained generator makes, for conditions that are asked for."""

from collections.abc import Callable, Iterator

import numpy as np

from ooc.core.random_keys import Purpose, generator, key
from pipelines.protein_interfaces import kernels
from pipelines.protein_interfaces.columns import CLASSES
from pipelines.protein_interfaces.coordinates import SIZE, to_rows
from pipelines.protein_interfaces.model import InterfacePair
from pipelines.protein_interfaces.row_kernels import CONDITIONS, fill_codes

PIECE = 8192


def ask(conditions: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw what rows are asked for: classes (count,) uint8, and whether stable (count,) bool.

    Parameters
    ----------
    conditions
        (9, 2), see `pipelines.protein_interfaces.data.conditions_of`.
    """
    rng = generator(seed, Purpose.DRAWS)
    edges = np.cumsum(conditions[:, 0])[:-1]
    labels = np.searchsorted(edges, rng.random(count), side="right").astype(np.uint8)
    return labels, rng.random(count) < conditions[labels, 1]


def make_rows(
    model: InterfacePair,
    parameters: np.ndarray,
    labels: np.ndarray,
    stable: np.ndarray,
    seed: int,
    calibrated: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Return a made row for each condition, (rows, 64) float32; the same seed makes the same.

    `calibrated`, if given, moves points of these classes before they become rows, see
    `pipelines.protein_interfaces.calibration`.
    """
    pieces, first = [], 0
    for points in make_points(model, parameters, labels, stable, seed):
        of_points, first = labels[first : first + len(points)], first + len(points)
        moved = points if calibrated is None else calibrated(points, of_points)
        pieces.append(to_rows(model.coordinates, moved))
    return np.concatenate(pieces)


def make_points(
    model: InterfacePair, parameters: np.ndarray, labels: np.ndarray, stable: np.ndarray, seed: int
) -> Iterator[np.ndarray]:
    """Yield coordinates, (at most 8,192, 59), piece by piece."""
    part = model.layout((64,)).views(parameters)
    step = key(seed, Purpose.DRAWS)
    for first in range(0, len(labels), PIECE):
        chosen = slice(first, first + PIECE)
        count = len(labels[chosen])
        codes = np.zeros((count, model.latent + CONDITIONS), parameters.dtype)
        fill_codes(step, first, codes[:, : model.latent])
        codes[np.arange(count), model.latent + labels[chosen].astype(np.int64)] = 1
        codes[:, model.latent + len(CLASSES)] = stable[chosen]
        layer = codes
        for number in ("1", "2"):
            layer = layer @ part[f"generator.weights{number}"].T
            layer += part[f"generator.biases{number}"]
            layer = np.where(layer > 0, layer, kernels.LEAK * layer)
        made = layer @ part["generator.weights3"].T + codes @ part["generator.direct"].T
        assert made.shape[1] == SIZE
        yield made + part["generator.biases3"]
