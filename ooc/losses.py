"""Pointwise losses: (prediction, target) -> (value, derivative with respect to the prediction).

A new loss is one function, one entry of `LOSSES` and one branch of `value_and_derivative`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ooc.compiled import exact_kernel

SQUARED = 0
LOGISTIC = 1


@exact_kernel
def squared(prediction: float, target: float) -> tuple[float, float]:
    """Half the squared error, for regression.

    Examples
    --------
    >>> squared(3.0, 1.0)
    (2.0, 2.0)
    """
    difference = prediction - target
    return 0.5 * difference * difference, difference


@exact_kernel
def logistic(prediction: float, target: float) -> tuple[float, float]:
    """Negative log-likelihood of a label 0 or 1 under log-odds, in nats, without overflow.

    Examples
    --------
    >>> value, derivative = logistic(0.0, 1.0)
    >>> round(value, 6), derivative
    (0.693147, -0.5)
    """
    decay = math.exp(-abs(prediction))
    larger = 1.0 / (1.0 + decay)
    probability = larger if prediction >= 0 else 1.0 - larger
    value = max(prediction, 0.0) + math.log1p(decay) - prediction * target
    return value, probability - target


@exact_kernel
def value_and_derivative(
    code: int, prediction: float, target: float, constant: float
) -> tuple[float, float]:
    """Evaluate the loss that has this code; kernels choose a loss by it without recompiling.

    `constant` is what some losses call their own.
    """
    if code == LOGISTIC:
        return logistic(prediction, target)
    return squared(prediction, target)


@exact_kernel
def target_is_valid(code: int, target: float) -> bool:
    """Tell whether a loss is defined for this target: a label 0 or 1, or any finite number."""
    if code == LOGISTIC:
        return target == 0.0 or target == 1.0
    return math.isfinite(target)


@dataclass(frozen=True)
class Loss:
    """One pointwise loss: its code in the kernels, its compiled pair, what targets it takes."""

    code: int
    pair: Callable[[float, float], tuple[float, float]]
    targets: str


LOSSES = {
    "squared": Loss(SQUARED, squared, "finite numbers"),
    "logistic": Loss(LOGISTIC, logistic, "labels 0 and 1"),
}
