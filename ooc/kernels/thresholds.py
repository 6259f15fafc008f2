"""Thresholds of ordered labels: from one score a row to cumulative logits, and back.

With K labels, P(y <= k) = sigmoid(threshold_k - f(x)) for k = 0 to K - 2 (proportional odds,
McCullagh 1980). Parameters are the first threshold and K - 2 numbers r_1, r_2, ...: each further
threshold lies softplus(r_k) above the one before, so that they increase whatever the numbers are.
"""

import numpy as np

from ooc.core.compiler import lean_kernel
from ooc.kernels.activations import softplus


@lean_kernel
def cumulate(values: np.ndarray, parameters: np.ndarray, scores: np.ndarray) -> None:
    """Fill the scores of ordered labels.

    Parameters
    ----------
    values
        (rows, 1): f(x) of each row.
    parameters
        (K - 1,): the first threshold, and r_1 to r_{K-2}.
    scores
        (rows, 2 K - 3): K - 1 logits threshold_k - f(x), and behind them r_1 to r_{K-2}: the loss
        has the gaps from there, for logits that nearly meet have lost theirs to rounding.
    """
    count, threshold = parameters.size, 0.0
    for k in range(count):
        own = np.float64(parameters[k])
        threshold += own if k == 0 else softplus(own)[0]
        for r in range(values.shape[0]):
            scores[r, k] = threshold - np.float64(values[r, 0])
            if k > 0:
                scores[r, count + k - 1] = parameters[k]


@lean_kernel
def collect(
    derivatives: np.ndarray, parameters: np.ndarray, delta: np.ndarray, gradient: np.ndarray
) -> None:
    """Turn derivatives by the scores of `cumulate` into those by f(x) and by the parameters.

    Parameters
    ----------
    derivatives
        (rows, 2 K - 3).
    delta
        (rows, 1), filled.
    gradient
        (K - 1,), filled with sums over the rows.
    """
    count, rows, above = parameters.size, derivatives.shape[0], 0.0
    for r in range(rows):
        by_value = 0.0
        for k in range(count):
            by_value -= derivatives[r, k]
        delta[r, 0] = by_value
    # A gap moves all thresholds above it.
    for k in range(count - 1, -1, -1):
        by_gap = 0.0
        for r in range(rows):
            above += derivatives[r, k]
            if k > 0:
                by_gap += derivatives[r, count + k - 1]
        slope = softplus(np.float64(parameters[k]))[1] if k > 0 else 1.0
        gradient[k] = slope * above + by_gap
