"""Streaming metrics by name: one pass, states of bounded size, no array as long as the rows.

A new metric is one file and one entry of `METRICS`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ooc.core.progress import Progress, Report, silent
from ooc.metrics.auc import AUC
from ooc.metrics.base import Metric
from ooc.metrics.confusion import CONFUSION
from ooc.metrics.means import ACCURACY, LOSS
from ooc.metrics.measured import Labels, Measured, Numbers
from ooc.metrics.regression import REGRESSION

METRICS: dict[str, Metric] = {
    "loss": LOSS,
    "accuracy": ACCURACY,
    "auc": AUC,
    "confusion_matrix": CONFUSION,
    "regression": REGRESSION,
}

# A state for each metric that has seen rows, by its name.
States = dict[str, np.ndarray]


def update(states: States, batch: Measured) -> None:
    """Add a batch to the states of all metrics that are for it; {} are the states of no rows.

    Raises
    ------
    DataError
        If a model's answers cannot be counted.

    Examples
    --------
    >>> states = {}
    >>> update(states, Measured(loss=3.0, weight=2.0, correct=1.0, rows=2))
    >>> update(states, Measured(loss=1.0, weight=2.0, correct=2.0, rows=2))
    >>> values(states)["loss"], values(states)["accuracy"], values(states)["auc"]
    (1.0, 0.75, None)
    """
    for name, metric in METRICS.items():
        size = metric.size(batch)
        if size and name not in states:
            states[name] = np.zeros(size)
        if size:
            metric.update(states[name], batch)


def merge(states: States, others: Mapping[str, np.ndarray]) -> None:
    """Add the states of other rows, such as another worker's."""
    for name, other in others.items():
        if name in states:
            METRICS[name].merge(states[name], other)
        else:
            states[name] = other.copy()


def values(states: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the values of all metrics, JSON-ready; None where one is not defined."""
    found: dict[str, Any] = {}
    for name, metric in METRICS.items():
        known = metric.values(states[name]) if name in states else dict.fromkeys(metric.keys)
        found.update(known)
    return found


def most_bytes(outputs: int) -> int:
    """Return the bytes that all states hold at most, for rows of this many outputs."""
    return sum(metric.most_bytes(outputs) for metric in METRICS.values())


__all__ = [
    "METRICS",
    "Labels",
    "Measured",
    "Metric",
    "Numbers",
    "Progress",
    "Report",
    "States",
    "merge",
    "most_bytes",
    "silent",
    "update",
    "values",
]
