"""The confusion matrix: weights of rows by true and predicted label."""

import math
from typing import Any

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.core.errors import DataError
from ooc.metrics.base import Metric, add
from ooc.metrics.measured import Labels, Measured

# A matrix of more classes is left out: nobody reads it, and it grows with their square.
MOST_CLASSES = 100


@exact_kernel
def add_labels(
    matrix: np.ndarray, labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray
) -> int:
    """Add rows to the matrix.

    Parameters
    ----------
    matrix
        (K, K) float64, true labels by predicted ones.
    labels, predicted
        (rows,) float32 and int64.
    weights
        (rows,) float32, or empty.

    Returns
    -------
    int
        -1, or the first row with a label that is not among the K.

    Examples
    --------
    >>> matrix, none = np.zeros((2, 2)), np.empty(0, np.float32)
    >>> add_labels(matrix, np.float32([0, 1, 1]), np.array([0, 0, 1]), none), matrix.tolist()
    (-1, [[1.0, 0.0], [1.0, 1.0]])
    """
    classes = matrix.shape[0]
    for r in range(labels.size):
        label, answer = labels[r], predicted[r]
        whole = label >= 0 and label < classes and label == math.floor(label)
        if not whole or answer < 0 or answer >= classes:
            return r
        matrix[np.int64(label), answer] += np.float64(weights[r]) if weights.size else 1.0
    return -1


def _size(batch: Measured) -> int:
    answers = batch.answers
    if not isinstance(answers, Labels) or answers.classes > MOST_CLASSES:
        return 0
    return answers.classes**2


def _update(state: np.ndarray, batch: Measured) -> None:
    answers = batch.answers
    assert isinstance(answers, Labels)
    matrix = state.reshape(math.isqrt(state.size), -1)
    labels = np.ascontiguousarray(answers.labels, np.float32)
    predicted = np.ascontiguousarray(answers.predicted, np.int64)
    weights = np.ascontiguousarray(answers.weights, np.float32)
    row = add_labels(matrix, labels, predicted, weights)
    if row >= 0:
        raise DataError(
            f"row {row} of a batch has label {labels[row]} and prediction {predicted[row]}, but "
            f"there are {len(matrix)} classes, from 0 on; correct the model's measure"
        )


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
    lambda outputs: 8 * min(max(outputs, 2), MOST_CLASSES) ** 2,
)
