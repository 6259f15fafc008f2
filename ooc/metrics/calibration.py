"""Calibration: how often a model is right, beside the probabilities with which it says so.

Rows fall into `BINS` bins of equal width by their probability: that of label 1 of two classes, of
the predicted label of more. Of each bin the mean probability and the share of rows that had the
label are told; the expected calibration error is their mean distance, bins counted by weight (Guo
and others 2017).
"""

from typing import Any

import numpy as np

from ooc.core.errors import DataError
from ooc.metrics.base import Metric
from ooc.metrics.measured import Labels, Measured

BINS = 20
# Of each bin: the weight of its rows, their summed probability, the weight of those with the label.
EACH = 3
_INNER_EDGES = np.linspace(0.0, 1.0, BINS + 1)[1:-1]


def _size(batch: Measured) -> int:
    known = isinstance(batch.answers, Labels) and batch.answers.probability is not None
    return BINS * EACH if known else 0


def _update(state: np.ndarray, batch: Measured) -> None:
    answers = batch.answers
    assert isinstance(answers, Labels) and answers.probability is not None
    probability = answers.probability.astype(np.float64)
    if not np.all((probability >= 0) & (probability <= 1)):
        row = int(np.argmin((probability >= 0) & (probability <= 1)))
        raise DataError(
            f"row {row} of a batch has probability {probability[row]}; correct the model's "
            "measure, or leave out its probabilities"
        )
    weights = answers.weights if answers.weights.size else np.ones(len(probability))
    named = 1 if answers.classes == 2 else answers.predicted
    bins = np.searchsorted(_INNER_EDGES, probability)
    sums = state.reshape(BINS, EACH)
    for column, values in enumerate((weights, weights * probability)):
        sums[:, column] += np.bincount(bins, values, BINS)
    sums[:, 2] += np.bincount(bins, weights * (answers.labels == named), BINS)
    if weights.size and weights.min() < 0:
        state[:] = np.nan  # no share of anything


def _values(state: np.ndarray) -> dict[str, Any]:
    """Return the bins that have weight, as columns, and the expected calibration error."""
    sums = state.reshape(BINS, EACH)
    weight, probability, right = sums[sums[:, 0] > 0].T
    if not weight.size:
        return dict.fromkeys(CALIBRATION.keys)
    predicted, observed = probability / weight, right / weight
    error = float(weight @ np.abs(observed - predicted) / weight.sum())
    columns = {"predicted": predicted, "observed": observed, "weight": weight}
    listed = {name: column.tolist() for name, column in columns.items()}
    return {"calibration": listed, "calibration_error": error}


CALIBRATION = Metric(
    ("calibration", "calibration_error"), _size, _update, _values, lambda _: 2 * 8 * BINS * EACH
)
