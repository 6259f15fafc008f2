"""All metrics by name; a new one is its functions and an entry of `METRICS`."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ooc.core.errors import DataError
from ooc.metrics.auc import AUC
from ooc.metrics.base import Metric
from ooc.metrics.calibration import CALIBRATION
from ooc.metrics.measured import Labels, Measured
from ooc.metrics.regression import REGRESSION
from ooc.metrics.residuals import RESIDUALS

# A confusion matrix of more classes is left out: nobody reads it, and it grows with their square.
MOST_CLASSES = 100

# A state for each metric that has seen rows, by its name.
States = dict[str, np.ndarray]


def _update_sum(name: str, state: np.ndarray, batch: Measured) -> None:
    state += (getattr(batch, name), batch.weight)


def _mean(state: np.ndarray) -> float | None:
    """Return the weighted mean; None without weight."""
    total, weight = state.tolist()
    return None if weight == 0 else total / weight


def _accuracy(state: np.ndarray) -> float | None:
    """Return None where the model has no classes, too."""
    return None if math.isnan(state[0]) else _mean(state)


def _mean_metric(key: str, name: str, value: Callable[[np.ndarray], float | None]) -> Metric:
    """Return the metric of a sum of `Measured` over the weights."""
    update = partial(_update_sum, name)
    return Metric((key,), lambda batch: 2, update, lambda one: {key: value(one)}, lambda _: 16)


def _confusion_size(batch: Measured) -> int:
    classes = batch.answers.classes if isinstance(batch.answers, Labels) else 0
    return classes**2 if classes <= MOST_CLASSES else 0


def _update_confusion(state: np.ndarray, batch: Measured) -> None:
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


def _confusion_matrix(state: np.ndarray) -> dict[str, Any]:
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


METRICS: dict[str, Metric] = {
    "loss": _mean_metric("loss", "loss", _mean),
    "accuracy": _mean_metric("accuracy", "correct", _accuracy),
    "auc": AUC,
    "confusion_matrix": Metric(
        keys=("confusion_matrix", "per_class"),
        size=_confusion_size,
        update=_update_confusion,
        values=_confusion_matrix,
        most_bytes=lambda outputs: 2 * 8 * min(max(outputs, 2), MOST_CLASSES) ** 2,
    ),
    "calibration": CALIBRATION,
    "regression": REGRESSION,
    "residuals": RESIDUALS,
}

# Metrics that are for labels alone, and for numbers alone.
_OF_LABELS, _OF_NUMBERS = ("auc", "confusion_matrix", "calibration"), ("regression", "residuals")


def update(states: States, batch: Measured) -> None:
    """Add a batch to the states of all metrics that are for it; {} are the states of no rows.

    Examples
    --------
    >>> states = {}
    >>> update(states, Measured(loss=3.0, weight=2.0, correct=1.0, rows=2))
    >>> update(states, Measured(loss=1.0, weight=2.0, correct=2.0, rows=2))
    >>> values(states)["loss"], values(states)["accuracy"], values(states)["auc"]
    (1.0, 0.75, None)
    """
    for name, metric in METRICS.items():
        if size := metric.size(batch):
            if name not in states:
                states[name] = np.zeros(size)
            metric.update(states[name], batch)


def values(states: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the values of all metrics, JSON-ready; None where one is not defined."""
    found: dict[str, Any] = {}
    for name, metric in METRICS.items():
        found |= metric.values(states[name]) if name in states else dict.fromkeys(metric.keys)
    return found


def most_bytes(outputs: int) -> int:
    """Return the bytes that all states hold at most, for rows of this many outputs.

    Answers are labels or numbers, so that metrics of the one and of the other are never held
    together.
    """
    held = {name: metric.most_bytes(outputs) for name, metric in METRICS.items()}
    return max(
        sum(size for name, size in held.items() if name not in others)
        for others in (_OF_LABELS, _OF_NUMBERS)
    )
