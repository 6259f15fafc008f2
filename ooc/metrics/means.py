"""Mean loss and accuracy: sums over rows divided by the sum of their weights."""

import math
from typing import Any

import numpy as np

from ooc.metrics.base import Metric, add
from ooc.metrics.measured import Measured


def _update_loss(state: np.ndarray, batch: Measured) -> None:
    state += (batch.loss, batch.weight)


def _update_accuracy(state: np.ndarray, batch: Measured) -> None:
    state += (batch.correct, batch.weight)


def _mean(state: np.ndarray) -> float | None:
    """Return the weighted mean; None without weight."""
    total, weight = state.tolist()
    return None if weight == 0 else total / weight


def _loss(state: np.ndarray) -> dict[str, Any]:
    return {"loss": _mean(state)}


def _accuracy(state: np.ndarray) -> dict[str, Any]:
    """Return None where the model has no classes, too."""
    return {"accuracy": None if math.isnan(state[0]) else _mean(state)}


LOSS = Metric(("loss",), lambda batch: 2, _update_loss, add, _loss, lambda outputs: 16)
ACCURACY = Metric(("accuracy",), lambda batch: 2, _update_accuracy, add, _accuracy, lambda _: 16)
