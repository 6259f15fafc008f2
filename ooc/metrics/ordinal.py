"""How far from the true label predictions are, where labels have an order: in notches.

A notch is the step from one label to the next. All follows from the confusion matrix, so that the
numbers are those of scikit-learn, and no batch changes them.
"""

import math
from typing import Any

import numpy as np

from ooc.metrics.base import Metric
from ooc.metrics.confusion import count_cells, matrix_bytes, matrix_size
from ooc.metrics.measured import Labels, Measured


def _size(batch: Measured) -> int:
    answers = batch.answers
    return matrix_size(batch) if isinstance(answers, Labels) and answers.has_order else 0


def _values(state: np.ndarray) -> dict[str, Any]:
    """Return shares within one and two notches, their mean, and the kappa; None without weight.

    The kappa with quadratic weights (Cohen 1968) is 1 less the mean squared distance over that of
    predictions which were drawn without a look at the row. It is None where that is 0.
    """
    matrix = state.reshape(math.isqrt(state.size), -1)
    total = float(matrix.sum())
    if not total > 0:
        return dict.fromkeys(ORDINAL.keys)
    labels = np.arange(len(matrix))
    notches = np.abs(labels[:, None] - labels)
    by_chance = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / total
    expected = float((by_chance * notches**2).sum())
    kappa = 1 - float((matrix * notches**2).sum()) / expected if expected > 0 else None
    return {
        "within_one": float(matrix[notches <= 1].sum()) / total,
        "within_two": float(matrix[notches <= 2].sum()) / total,
        "mean_absolute_notches": float((matrix * notches).sum()) / total,
        "quadratic_weighted_kappa": kappa,
    }


ORDINAL = Metric(
    ("within_one", "within_two", "mean_absolute_notches", "quadratic_weighted_kappa"),
    _size,
    count_cells,
    _values,
    matrix_bytes,
)
