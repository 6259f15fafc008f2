"""R2, mean absolute error and root mean squared error, in one pass and in float64.

Mean and squared deviations of batches are merged (Chan, Golub and LeVeque 1983), so that a mean far
from zero costs no digits. Of several outputs the plain mean is reported, as scikit-learn does.
"""

import math
from typing import Any

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.core.errors import DataError
from ooc.metrics.base import Metric
from ooc.metrics.measured import Measured, Numbers

# In front of the outputs: the sum of weights. For each output: mean of the targets, squared
# deviations from it, squared errors, absolute errors.
HEAD, EACH = 1, 4


def merge_sums(state: np.ndarray, other: np.ndarray) -> None:
    """Add the sums of other rows to a state, (1 + 4 T,) float64."""
    before, more = state[0], other[0]
    if before == 0.0:
        state[:] = other
    elif more != 0.0:
        ours, theirs = (sums[HEAD:].reshape(-1, EACH) for sums in (state, other))
        apart = theirs[:, 0] - ours[:, 0]
        ours[:, 0] += apart * (more / (before + more))
        ours[:, 1] += apart**2 * (before * more / (before + more))
        ours[:, 1:] += theirs[:, 1:]
        state[0] += more


@exact_kernel
def batch_sums(
    sums: np.ndarray, predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> int:
    """Replace `sums`, (1 + 4 T,) float64, by those of a batch.

    Predictions and targets are (rows, T) float64, weights (rows,) float32 or empty; a
    negative one makes the sum of weights NaN. Returns -1, or the first row with a number that is
    not finite.
    """
    rows, outputs = targets.shape
    total = 0.0
    for r in range(rows):
        weight = np.float64(weights[r]) if weights.size else 1.0
        total += weight if weight >= 0.0 else np.nan
    sums[0] = total
    for k in range(outputs):
        # Sums of distances from one target: exactly zero where all targets are the same.
        origin = targets[0, k] if rows else 0.0
        drift, squares, absolutes = 0.0, 0.0, 0.0
        for r in range(rows):
            error = predictions[r, k] - targets[r, k]
            if not math.isfinite(error):
                return r
            weight = np.float64(weights[r]) if weights.size else 1.0
            drift += weight * (targets[r, k] - origin)
            squares += weight * error * error
            absolutes += weight * abs(error)
        mean = origin + drift / total if total > 0.0 else origin
        deviations, rest = 0.0, 0.0
        for r in range(rows):
            weight = np.float64(weights[r]) if weights.size else 1.0
            away = targets[r, k] - mean
            deviations += weight * away * away
            rest += weight * away
        if total > 0.0:
            deviations -= rest * rest / total
        at = 1 + 4 * k
        sums[at], sums[at + 1], sums[at + 2], sums[at + 3] = mean, deviations, squares, absolutes
    return -1


def _size(batch: Measured) -> int:
    answers = batch.answers
    return HEAD + EACH * answers.targets.shape[1] if isinstance(answers, Numbers) else 0


def _update(state: np.ndarray, batch: Measured) -> None:
    answers, sums = batch.answers, np.zeros_like(state)
    assert isinstance(answers, Numbers)
    predictions = np.ascontiguousarray(answers.predictions, np.float64)
    targets = np.ascontiguousarray(answers.targets, np.float64)
    row = batch_sums(sums, predictions, targets, np.ascontiguousarray(answers.weights, np.float32))
    if row >= 0:
        raise DataError(
            f"row {row} of a batch has target {targets[row].tolist()} and prediction "
            f"{predictions[row].tolist()}; all of them must be finite: remove or fill such rows"
        )
    merge_sums(state, sums)


def _values(state: np.ndarray) -> dict[str, Any]:
    """Return the three; R2 is None where the targets of an output are all the same."""
    weight = float(state[0])
    if not weight > 0:
        return dict.fromkeys(REGRESSION.keys)
    _, deviations, squares, absolutes = state[HEAD:].reshape(-1, EACH).T
    defined = bool((deviations > 0).all())
    return {
        "r2": float(np.mean(1 - squares / deviations)) if defined else None,
        "mean_absolute_error": float(np.mean(absolutes / weight)),
        "root_mean_squared_error": float(np.mean(np.sqrt(squares / weight))),
    }


REGRESSION = Metric(
    ("r2", "mean_absolute_error", "root_mean_squared_error"),
    _size,
    _update,
    _values,
    lambda outputs: 2 * 8 * (HEAD + EACH * outputs),
)
