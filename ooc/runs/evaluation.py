"""What a model is worth on some rows: every metric, in one pass over their batches."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ooc import metrics
from ooc.core.errors import DivergedError, InputError
from ooc.models.contract import BatchLike, Model


def evaluate_batches(
    model: Model, parameters: np.ndarray, batches: Iterable[BatchLike]
) -> dict[str, Any]:
    """Measure a model on batches; weights count where they are there.

    Returns
    -------
    dict
        The mean "loss", and None where they are not defined:

        - "accuracy" and "confusion_matrix" (nested lists, one for each true label, of at most 100
          classes) for labels; "per_class" has the lists "precision", "recall", "f1" and "weight";
        - "within_one" and "within_two" (notches), "mean_absolute_notches" and
          "quadratic_weighted_kappa" for labels that have an order;
        - "auc" for two classes, of the log-odds, off by at most "auc_error";
        - "calibration" for probabilities: the lists "predicted", "observed" and "weight", see
          `ooc.metrics.calibration`; and "calibration_error", expected;
        - "r2", "mean_absolute_error" and "root_mean_squared_error" for numbers, and of their
          "residuals", target minus prediction, "quantiles", and a histogram's "edges" and "weight".

    Examples
    --------
    >>> from ooc.stream.batch import Batch
    >>> from ooc.models import Logistic
    >>> arrays = {"X": np.float32([[-2], [-1], [1], [2]]), "y": np.float32([0, 1, 0, 1])}
    >>> batch = Batch(arrays, np.arange(4), 0, 0, ("X", "y", None))
    >>> found = evaluate_batches(Logistic(), np.float32([1, 0]), [batch])
    >>> found["accuracy"], found["auc"], found["confusion_matrix"], found["r2"]
    (0.5, 0.75, [[1, 1], [1, 1]], None)
    """
    states: metrics.States = {}
    for batch in batches:
        metrics.update(states, model.measure(parameters, batch))
    found = metrics.values(states)
    if found["loss"] is None:
        raise InputError(
            "there is nothing to measure: there are no rows, or their weights add up to 0; "
            "name other data or another weight"
        )
    if not math.isfinite(found["loss"]):
        raise DivergedError(
            f"the mean loss of {model.name} is {found['loss']}: training diverged, or rows hold "
            "NaN; lower the learning rate, or look for such rows"
        )
    return found
