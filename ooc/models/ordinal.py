"""Labels that have an order: thresholds, probabilities and answers, by proportional odds."""

import numpy as np

from ooc.kernels import thresholds as kernels
from ooc.metrics.measured import Labels


def first_thresholds(count: int) -> np.ndarray:
    """Return the parameters of K - 1 thresholds for K labels that are equally likely where f is 0.

    Examples
    --------
    >>> probabilities(threshold_values(first_thresholds(4))[None]).round(3)
    array([[0.2, 0.2, 0.2, 0.2, 0.2]])
    """
    shares = np.arange(1, count + 1) / (count + 1)
    logits = np.log(shares / (1 - shares))
    return np.concatenate([logits[:1], np.log(np.expm1(np.diff(logits)))])


def threshold_values(parameters: np.ndarray) -> np.ndarray:
    """Return the thresholds of their parameters, (K - 1,) float64, ascending.

    Examples
    --------
    >>> threshold_values(np.array([-1.0, 0.5])).round(3)
    array([-1.   , -0.026])
    """
    first, gaps = np.split(parameters.astype(np.float64), [1])
    return np.cumsum(np.concatenate([first, np.logaddexp(0.0, gaps)]))


def cumulative_scores(values: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Return the scores that `ooc.kernels.thresholds.cumulate` makes of f(x), (rows, 2 K - 3)."""
    scores = np.empty((len(values), 2 * parameters.size - 1), values.dtype)
    kernels.cumulate(values, np.ascontiguousarray(parameters), scores)
    return scores


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the probability of each label, (rows, K) float64, from logits of P(y <= k).

    Parameters
    ----------
    logits
        (rows, K - 1), ascending in each row.
    """
    rows, ends = len(logits), np.full((len(logits), 1), np.inf)
    wide = np.concatenate([-ends, logits.astype(np.float64), ends], axis=1)
    below, above = wide[:, :-1], wide[:, 1:]
    # sigmoid(above) - sigmoid(below), without the difference of two numbers that are nearly 1.
    found: np.ndarray = _sigmoid(above) * _sigmoid(-below) * -np.expm1(below - above)
    assert found.shape == (rows, logits.shape[1] + 1)
    return found


def medians(logits: np.ndarray) -> np.ndarray:
    """Return the median label of each row, (rows,) int64: the first with P(y <= k) of a half."""
    return np.asarray((logits < 0).sum(axis=1), np.int64)


def ordinal_answers(logits: np.ndarray) -> dict[str, np.ndarray]:
    """Return the likeliest label, the lowest of equal ones; the median; and all probabilities."""
    found = probabilities(logits)
    return {
        "prediction": found.argmax(axis=1),
        "median": medians(logits),
        "probability": found.astype(np.float32),
    }


def ordinal_labels(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Labels:
    """Return true labels beside the likeliest ones, for metrics."""
    found = probabilities(logits)
    predicted = found.argmax(axis=1)
    classes = found.shape[1]
    # Of two labels, those of label 1: metrics are the same as those of a logistic model.
    log_odds = -logits[:, 0].astype(np.float32) if classes == 2 else None
    likely = found[:, 1] if classes == 2 else found.max(axis=1)
    probability = likely.astype(np.float32)
    return Labels(classes, labels, predicted, log_odds, weights, probability, has_order=True)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    decay = np.exp(-np.abs(x))
    found: np.ndarray = np.where(x >= 0, 1.0, decay) / (1.0 + decay)
    return found
