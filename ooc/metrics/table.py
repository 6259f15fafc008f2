"""All metrics by name; a new one is its functions and an entry of `METRICS`."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ooc.metrics.auc import AUC
from ooc.metrics.base import Metric
from ooc.metrics.calibration import CALIBRATION
from ooc.metrics.confusion import CONFUSION
from ooc.metrics.measured import Measured
from ooc.metrics.ordinal import ORDINAL
from ooc.metrics.regression import REGRESSION
from ooc.metrics.residuals import RESIDUALS

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


METRICS: dict[str, Metric] = {
    "loss": _mean_metric("loss", "loss", _mean),
    "accuracy": _mean_metric("accuracy", "correct", _accuracy),
    "auc": AUC,
    "confusion_matrix": CONFUSION,
    "ordinal": ORDINAL,
    "calibration": CALIBRATION,
    "regression": REGRESSION,
    "residuals": RESIDUALS,
}

# Metrics that are for labels alone, and for numbers alone.
_OF_LABELS = ("auc", "confusion_matrix", "ordinal", "calibration")
_OF_NUMBERS = ("regression", "residuals")


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
