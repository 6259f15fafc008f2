"""One score for a month, of what the branches say of it: cumulative logits with few weights.

Headlines are read one by one; a month's forecast is of all that came in it and in the months
before. Weights and thresholds are fitted in memory to countries that the network never saw.
"""

from dataclasses import dataclass

import numpy as np

PENALTY = 1e-4  # on the squares of weights


@dataclass(frozen=True)
class Blend:
    """Proportional odds (McCullagh 1980) on few columns.

    Attributes
    ----------
    weights
        (columns,) of what is added up to the score.
    thresholds
        (classes - 1,) rising; above the last one the highest class begins.
    """

    weights: np.ndarray
    thresholds: np.ndarray

    def likely(self, columns: np.ndarray) -> np.ndarray:
        """Return how likely each class is, (rows, classes), of (rows, columns)."""
        return _likely(columns @ self.weights, self.thresholds)


def fit(columns: np.ndarray, labels: np.ndarray, classes: int) -> Blend:
    """Fit weights and thresholds by L-BFGS; classes that never occur become unlikely.

    Parameters
    ----------
    columns
        (rows, columns) float64, finite.
    labels
        (rows,) classes from 0 on.
    """
    from scipy.optimize import minimize

    # A tenth of a row in every class keeps thresholds apart.
    counts = np.bincount(labels, minlength=classes) + 0.1
    above = np.cumsum(counts)[:-1] / counts.sum()
    start = np.log(above / (1 - above))
    scale = np.maximum(columns.std(axis=0), 1e-12)
    scaled, onehot = (columns - columns.mean(axis=0)) / scale, np.eye(classes)[labels]
    smooth = 0.1 * np.eye(classes)

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        thresholds = _rising(point[: classes - 1])
        weights = point[classes - 1 :]
        likely = _likely(scaled @ weights, thresholds)
        value, by_score, by_threshold = _loss(likely, onehot, scaled @ weights, thresholds)
        extra = _likely(np.zeros(classes), thresholds)
        more, _, by_more = _loss(extra, smooth, np.zeros(classes), thresholds)
        slope = by_threshold + by_more
        # Of the first threshold, and of the logarithms of the distances between them.
        slope = np.cumsum(slope[::-1])[::-1]
        slope[1:] *= np.diff(thresholds)
        rows = len(labels)
        total = (value + more) / rows + PENALTY * float(weights @ weights)
        by_weight = scaled.T @ by_score / rows + 2 * PENALTY * weights
        return total, np.concatenate([slope / rows, by_weight])

    gaps = np.log(np.maximum(np.diff(start), 1e-3))
    first = np.concatenate([start[:1], gaps, np.zeros(columns.shape[1])])
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    weights = found[classes - 1 :] / scale
    return Blend(weights, _rising(found[: classes - 1]) + columns.mean(axis=0) @ weights)


def _rising(point: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.cumsum(np.concatenate([point[:1], np.exp(point[1:])]))
    return found


def _likely(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    above = expit(scores[:, None] - thresholds)
    ends = np.ones((len(scores), 1)), np.zeros((len(scores), 1))
    return -np.diff(np.concatenate([ends[0], above, ends[1]], axis=1), axis=1)


def _loss(
    likely: np.ndarray, wanted: np.ndarray, scores: np.ndarray, thresholds: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the negative log-likelihood, and its slopes by each score and each threshold."""
    from scipy.special import expit

    kept = np.maximum(likely, 1e-12)
    above = expit(scores[:, None] - thresholds)
    slope = above * (1 - above)
    ratio = wanted / kept
    # A rising score takes from a class at its lower threshold what it gives at its upper one.
    by_above = -(ratio[:, 1:] - ratio[:, :-1]) * slope
    value = float(-(wanted * np.log(kept)).sum())
    return value, by_above.sum(axis=1), -by_above.sum(axis=0)
