"""The confusion matrix: weights of rows by true and predicted label."""

import math
from typing import Any

import numpy as np

from ooc.core.errors import DataError
from ooc.metrics.base import Metric, add
from ooc.metrics.measured import Labels, Measured

# A matrix of more classes is left out: nobody reads it, and it grows with their square.
MOST_CLASSES = 100


def _size(batch: Measured) -> int:
    answers = batch.answers
    if not isinstance(answers, Labels) or answers.classes > MOST_CLASSES:
        return 0
    return answers.classes**2


def _update(state: np.ndarray, batch: Measured) -> None:
    answers = batch.answers
    assert isinstance(answers, Labels)
    classes = math.isqrt(state.size)
    labels, predicted = answers.labels, np.asarray(answers.predicted, np.int64)
    known = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
    known &= (predicted >= 0) & (predicted < classes)
    if not known.all():
        row = int(np.argmin(known))
        raise DataError(
            f"row {row} of a batch has label {labels[row]} and prediction {predicted[row]}, but "
            f"there are {classes} classes, from 0 on; correct the model's measure"
        )
    cells = labels.astype(np.int64) * classes + predicted
    weights = answers.weights if answers.weights.size else None
    state += np.bincount(cells, weights, state.size)


def _values(state: np.ndarray) -> dict[str, Any]:
    """Return nested lists, a true label in each; whole numbers where all of them are."""
    if not state.any():
        return {"confusion_matrix": None}
    matrix = state.reshape(math.isqrt(state.size), -1)
    whole = bool((matrix == np.floor(matrix)).all() and np.abs(matrix).max() < 2.0**53)
    return {"confusion_matrix": (matrix.astype(np.int64) if whole else matrix).tolist()}


CONFUSION = Metric(
    ("confusion_matrix",),
    _size,
    _update,
    add,
    _values,
    lambda outputs: 2 * 8 * min(max(outputs, 2), MOST_CLASSES) ** 2,
)
