"""Calibration: how often a model is right, beside the probabilities with which it says so.

Rows fall into `BINS` bins of equal width by their probability: that of label 1 of two classes, of
the predicted label of more. Of each bin the mean probability and the share of rows that had the
label are told; the expected calibration error is their mean distance, bins counted by weight (Guo
and others 2017).
"""

from typing import Any

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.core.errors import DataError
from ooc.metrics.base import Metric
from ooc.metrics.measured import Labels, Measured

BINS = 20
# Of each bin: the weight of its rows, their summed probability, the weight of those with the label.
EACH = 3
_INNER_EDGES = np.linspace(0.0, 1.0, BINS + 1)[1:-1]


@exact_kernel
def add_rows(
    state: np.ndarray,
    edges: np.ndarray,
    answers: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    second: bool,
) -> int:
    """Add rows to a state; what is predicted is their second class, or the predicted one.

    Answers are probabilities, labels and weights, float32, and predicted labels, int64; a negative
    weight makes the state NaN. Returns -1, or the first row whose probability is none.
    """
    probability, labels, weights, predicted = answers
    for r in range(probability.size):
        p = float(probability[r])
        if not 0.0 <= p <= 1.0:
            return r
        weight = float(weights[r]) if weights.size else 1.0
        if not weight >= 0.0:
            weight = np.nan
        # The bin that bisection finds is this one or one beside it.
        at = min(int(p * BINS), BINS - 1)
        while at > 0 and p <= edges[at - 1]:
            at -= 1
        while at < BINS - 1 and p > edges[at]:
            at += 1
        state[EACH * at] += weight
        state[EACH * at + 1] += weight * p
        if labels[r] == (1 if second else predicted[r]):
            state[EACH * at + 2] += weight
    return -1


def _size(batch: Measured) -> int:
    known = isinstance(batch.answers, Labels) and batch.answers.probability is not None
    return BINS * EACH if known else 0


def _update(state: np.ndarray, batch: Measured) -> None:
    answers = batch.answers
    assert isinstance(answers, Labels) and answers.probability is not None
    columns = (
        np.ascontiguousarray(answers.probability, np.float32),
        np.ascontiguousarray(answers.labels, np.float32),
        np.ascontiguousarray(answers.weights, np.float32),
        np.ascontiguousarray(answers.predicted, np.int64),
    )
    row = add_rows(state, _INNER_EDGES, columns, answers.classes == 2)
    if row >= 0:
        raise DataError(
            f"row {row} of a batch has probability {answers.probability[row]}; correct the model's "
            "measure, or leave out its probabilities"
        )


def _values(state: np.ndarray) -> dict[str, Any]:
    """Return the bins that have weight, as columns, and the expected calibration error."""
    sums = state.reshape(BINS, EACH)
    if np.isnan(sums).any():
        return dict.fromkeys(CALIBRATION.keys)
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
