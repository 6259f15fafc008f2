"""The confusion matrix: weights of rows by their true and their predicted label."""

import math
from typing import Any

import numpy as np

from ooc.core.errors import DataError
from ooc.metrics.base import Metric
from ooc.metrics.measured import Labels, Measured

# A matrix of more classes is left out: nobody reads it, and it grows with their square.
MOST_CLASSES = 100


def matrix_size(batch: Measured) -> int:
    """Return the cells of a matrix of a batch's classes; 0 where it has none, or too many."""
    classes = batch.answers.classes if isinstance(batch.answers, Labels) else 0
    return classes**2 if classes <= MOST_CLASSES else 0


def count_cells(state: np.ndarray, batch: Measured) -> None:
    """Add the weights of a batch's rows to the cells, (K^2,), of true and predicted labels.

    Raises
    ------
    DataError
        If a label is none of the classes.
    """
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
    """Return nested lists, a true label in each, whole numbers where all are; and by class."""
    if not state.any():
        return {"confusion_matrix": None, "per_class": None}
    matrix = state.reshape(math.isqrt(state.size), -1)
    whole = bool((matrix == np.floor(matrix)).all() and np.abs(matrix).max() < 2.0**53)
    listed = (matrix.astype(np.int64) if whole else matrix).tolist()
    return {"confusion_matrix": listed, "per_class": _per_class(matrix)}


def _per_class(matrix: np.ndarray) -> dict[str, list[float | None]]:
    """Return a column for each number, an entry for each class; None where it is not defined."""
    right, predicted, true = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    shares = {
        "precision": (right, predicted),
        "recall": (right, true),
        "f1": (2 * right, predicted + true),
    }
    columns: dict[str, list[float | None]] = {
        name: [part / of if of > 0 else None for part, of in zip(*pair, strict=True)]
        for name, pair in (
            (name, [side.tolist() for side in pair]) for name, pair in shares.items()
        )
    }
    return {**columns, "weight": true.tolist()}


def matrix_bytes(outputs: int) -> int:
    """Return the bytes that a matrix and an update of it hold at most."""
    return 2 * 8 * min(max(outputs, 2), MOST_CLASSES) ** 2


CONFUSION = Metric(
    ("confusion_matrix", "per_class"), matrix_size, count_cells, _values, matrix_bytes
)
