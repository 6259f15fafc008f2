"""Plain methods that make rows: Gaussian mixtures and a Gaussian copula, for each class its own.

What they make is brought to rows as a careful user would: counts are rounded, what is negative is
cut off, compositions are divided by their sums. Mixtures see columns as they are, or the
coordinates of the networks, whose way back keeps every constraint.
"""

from collections.abc import Callable

import numpy as np

from ooc.core.random_keys import Purpose, generator
from pipelines.protein_interfaces.columns import (
    AREA,
    CHARACTERS,
    CLASSES,
    COUNTS,
    INTERFACE,
    IS,
    SURFACE,
    hundredths,
)
from pipelines.protein_interfaces.coordinates import Coordinates, to_rows
from pipelines.protein_interfaces.quality import Rows

COMPONENTS = 4  # of each class
RIDGE = 1e-4

# (values of a class, how many are wanted, seed) -> as many made values
Method = Callable[[np.ndarray, int, int], np.ndarray]


def by_class(known: Rows, labels: np.ndarray, method: Method, seed: int) -> np.ndarray:
    """Fit a method to each class, and return what it makes for the classes asked: (rows, F)."""
    made = np.empty((len(labels), known.values.shape[1]))
    for label in range(len(CLASSES)):
        asked = labels == label
        if asked.any():
            values = known.values[known.labels == label].astype(np.float64)
            made[asked] = method(values, int(asked.sum()), seed + label)
    return made


def mixture(values: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Make values from a mixture of Gaussians with any covariance."""
    from sklearn.mixture import GaussianMixture

    mean, spread = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-6)
    few = max(1, min(COMPONENTS, len(values) // 200))
    model = GaussianMixture(few, reg_covar=RIDGE, random_state=seed, max_iter=60, tol=1e-2)
    model.fit((values - mean) / spread)
    drawn, _ = model.sample(count)
    found: np.ndarray = generator(seed, Purpose.DRAWS).permutation(drawn) * spread + mean
    return found


def copula(values: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Make values from a Gaussian copula of the columns, each with the quantiles it had."""
    from scipy.stats import norm, rankdata

    rng = generator(seed, Purpose.DRAWS)
    ranks = rankdata(values + 1e-9 * rng.random(values.shape), axis=0) / (len(values) + 1)
    scores = norm.ppf(ranks)
    correlation = np.corrcoef(scores, rowvar=False) + RIDGE * np.eye(values.shape[1])
    drawn = rng.standard_normal((count, values.shape[1])) @ np.linalg.cholesky(correlation).T
    places = np.clip((norm.cdf(drawn) * len(values)).astype(int), 0, len(values) - 1)
    found: np.ndarray = np.take_along_axis(np.sort(values, axis=0), places, axis=0)
    return found


def repair(made: np.ndarray) -> np.ndarray:
    """Bring numbers, (rows, 64), to rows that keep every constraint."""
    rows = made.copy()
    rows[:, list(COUNTS)] = np.maximum(np.rint(made[:, list(COUNTS)]), 0)
    rows[:, AREA] = np.maximum(np.rint(made[:, AREA]), 1)
    for part in (INTERFACE, SURFACE):
        whole = hundredths(np.maximum(made[:, part], 1e-3))
        rows[:, part] = whole / 100
        if part == SURFACE:
            rows[:, CHARACTERS] = whole @ IS.T / 100
    return rows.astype(np.float32)


def make_all(
    known: Rows, coordinates: Coordinates, labels: np.ndarray, seed: int, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Return the rows that plain methods make for the classes asked, by the methods' names."""
    made = {}
    for name in names:
        method, is_in_coordinates = METHODS[name]
        if is_in_coordinates:
            points = Rows(coordinates.of_rows(known.values, seed), known.labels)
            made[name] = to_rows(coordinates, by_class(points, labels, method, seed))
        else:
            made[name] = repair(by_class(known, labels, method, seed))
    return made


# What makes values, and whether it sees coordinates in place of columns.
METHODS: dict[str, tuple[Method, bool]] = {
    "Gaussian copula": (copula, False),
    "Gaussian mixture": (mixture, False),
    "Gaussian mixture, same coordinates": (mixture, True),
}
