"""Pointwise losses: (prediction, target) -> (value, derivative with respect to the prediction).

A new loss is one function and one entry of `LOSSES`. The third argument is a constant of the
loss's own. At a kink the derivative is 0 where 0 is a subgradient, and that of the flat side
elsewhere. A prediction that is not finite has a value that is not finite.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ooc.core.compiler import lean_kernel, part, remembered, view_at
from ooc.core.errors import InputError
from ooc.kernels.counters import BAD_TARGET, NOT_FINITE, OK
from ooc.kernels.share import BAD, PAIR, PointLoss, call_pair, loss_of
from ooc.kernels.targets import (
    COUNTS,
    LABELS,
    NUMBERS,
    label_is_valid,
    row_weight,
    target_is_valid,
)
from ooc.optim.step import real_of


@lean_kernel
def squared(prediction: float, target: float, constant: float = 0.0) -> tuple[float, float]:
    """Half the squared error, for regression.

    Examples
    --------
    >>> squared(3.0, 1.0)
    (2.0, 2.0)
    """
    difference = prediction - target
    return 0.5 * difference * difference, difference


@lean_kernel
def logistic(prediction: float, target: float, constant: float = 0.0) -> tuple[float, float]:
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


@lean_kernel
def hinge(prediction: float, target: float, constant: float = 0.0) -> tuple[float, float]:
    """How far a label 0 or 1, taken as -1 or 1, falls short of a margin of 1 (linear SVM).

    Examples
    --------
    >>> hinge(0.25, 1.0), hinge(0.25, 0.0), hinge(1.0, 1.0)
    ((0.75, -1.0), (1.25, 1.0), (0.0, 0.0))
    """
    sign = 2.0 * target - 1.0
    shortfall = 1.0 - sign * prediction
    # An infinite score is no right answer, and NaN compares as false.
    if 0.0 >= shortfall > -math.inf:
        return 0.0, 0.0
    return shortfall, -sign


@lean_kernel
def squared_hinge(prediction: float, target: float, constant: float = 0.0) -> tuple[float, float]:
    """Square of `hinge`, which is smooth.

    Examples
    --------
    >>> squared_hinge(0.5, 1.0)
    (0.25, -1.0)
    """
    shortfall, slope = hinge(prediction, target, constant)
    return shortfall * shortfall, 2.0 * shortfall * slope


@lean_kernel
def huber(prediction: float, target: float, delta: float) -> tuple[float, float]:
    """Half the squared error up to `delta`, linear beyond it (Huber 1964).

    Examples
    --------
    >>> huber(1.0, 0.0, 2.0), huber(-5.0, 0.0, 2.0)
    ((0.5, 1.0), (8.0, -2.0))
    """
    difference = prediction - target
    if abs(difference) <= delta:
        return 0.5 * difference * difference, difference
    return delta * (abs(difference) - 0.5 * delta), math.copysign(delta, difference)


@lean_kernel
def quantile(prediction: float, target: float, share: float) -> tuple[float, float]:
    """Pinball loss, least for the quantile with this share below (Koenker and Bassett 1978).

    Examples
    --------
    >>> quantile(0.0, 2.0, 0.75), quantile(2.0, 0.0, 0.75)
    ((1.5, -0.75), (0.5, 0.25))
    """
    difference = prediction - target
    if difference < 0:
        return -share * difference, -share
    if difference > 0:
        return (1.0 - share) * difference, 1.0 - share
    # 0 or NaN.
    return difference, 0.0


@lean_kernel
def poisson(prediction: float, target: float, constant: float = 0.0) -> tuple[float, float]:
    """Negative log-likelihood of a count whose mean's logarithm is predicted, up to a constant.

    Examples
    --------
    >>> poisson(0.0, 3.0)
    (1.0, -2.0)
    """
    mean = math.exp(prediction)
    return mean - target * prediction, mean - target


@lean_kernel
def epsilon_insensitive(prediction: float, target: float, epsilon: float) -> tuple[float, float]:
    """Absolute error beyond `epsilon` (Vapnik 1995, support vector regression).

    Examples
    --------
    >>> epsilon_insensitive(2.0, 1.0, 0.25), epsilon_insensitive(1.1, 1.0, 0.25)
    ((0.75, 1.0), (0.0, 0.0))
    """
    difference = prediction - target
    excess = abs(difference) - epsilon
    if excess <= 0:
        return 0.0, 0.0
    return excess, math.copysign(1.0, difference)


def pointwise(
    scores: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    loss: PointLoss,
    total: np.ndarray,
    report: np.ndarray,
) -> int:
    """Replace scores (rows, K) by the derivatives of the weighted losses against (rows, K) targets.

    Parameters
    ----------
    weights
        (rows,), or empty.
    total
        (terms,) float64; its first entry is set to the sum of the losses.
    report
        Its first entry is set to the row that cannot be used.

    Returns
    -------
    int
        `OK`, or why that row cannot be used.
    """
    summed = 0.0
    for r in range(scores.shape[0]):
        report[BAD] = r
        status, weight = row_weight(weights, r, np.float64(targets[r, 0]), loss.class_weights)
        if status != OK:
            return status
        value = 0.0
        for k in range(scores.shape[1]):
            target = np.float64(targets[r, k])
            if not target_is_valid(loss.rule, target):
                return BAD_TARGET
            one, slope = call_pair(
                loss.pair, (np.float64(scores[r, k]), target, np.float64(loss.constant))
            )
            value += one
            scores[r, k] = weight * slope
        value *= weight
        if not math.isfinite(value):
            return NOT_FINITE
        summed += value
    total[0] = summed
    return OK


def softmax(
    scores: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    loss: PointLoss,
    total: np.ndarray,
    report: np.ndarray,
) -> int:
    """Do as `pointwise` for the negative log-likelihood of labels 0 to K - 1, (rows, 1)."""
    summed, classes = 0.0, scores.shape[1]
    for r in range(scores.shape[0]):
        report[BAD] = r
        if not label_is_valid(targets[r, 0], classes):
            return BAD_TARGET
        label = np.int64(targets[r, 0])
        status, weight = row_weight(weights, r, np.float64(label), loss.class_weights)
        if status != OK:
            return status
        value = weight * softmax_row(view_at(scores, r * classes, (classes,)), label, weight)
        if not math.isfinite(value):
            return NOT_FINITE
        summed += value
    total[0] = summed
    return OK


@lean_kernel
def softmax_row(scores: np.ndarray, label: int | np.int64, weight: float) -> float:
    """Replace one row of scores by weighted derivatives; return its negative log-likelihood."""
    largest = scores[0]
    for k in range(1, scores.size):
        largest = max(largest, scores[k])
    partition = 0.0
    for k in range(scores.size):
        partition += math.exp(np.float64(scores[k]) - largest)
    value = math.log(partition) + largest - scores[label]
    for k in range(scores.size):
        probability = math.exp(np.float64(scores[k]) - largest) / partition
        scores[k] = weight * (probability - (1.0 if k == label else 0.0))
    return value


def ordinal(
    scores: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    loss: PointLoss,
    total: np.ndarray,
    report: np.ndarray,
) -> int:
    """Do as `pointwise` for the negative log-likelihood of ordered labels 0 to K - 1, (rows, 1).

    Scores, (rows, 2 K - 3), are what `ooc.kernels.thresholds.cumulate` fills.
    """
    summed, classes, width = 0.0, (scores.shape[1] + 3) // 2, scores.shape[1]
    for r in range(scores.shape[0]):
        report[BAD] = r
        if not label_is_valid(targets[r, 0], classes):
            return BAD_TARGET
        label = np.int64(targets[r, 0])
        status, weight = row_weight(weights, r, np.float64(label), loss.class_weights)
        if status != OK:
            return status
        value = weight * ordinal_row(view_at(scores, r * width, (width,)), label, weight)
        if not math.isfinite(value):
            return NOT_FINITE
        summed += value
    total[0] = summed
    return OK


@lean_kernel
def ordinal_row(scores: np.ndarray, label: int | np.int64, weight: float) -> float:
    """Replace one row of scores by weighted derivatives; return its negative log-likelihood.

    The probability of a label between the logits a < b is sigmoid(b) - sigmoid(a), which is
    sigmoid(b) sigmoid(-a) (1 - exp(a - b)). The gap b - a is the softplus of a parameter r, so that
    the last factor is sigmoid(r): three logistic losses, none of which overflows or cancels,
    however near the two thresholds are.
    """
    last = (scores.size + 1) // 2
    value, above, below, gap = 0.0, 0.0, 0.0, 0.0
    if label < last:
        one, above = logistic(np.float64(scores[label]), 1.0)
        value += one
    if label > 0:
        one, below = logistic(np.float64(scores[label - 1]), 0.0)
        value += one
    if 0 < label < last:
        one, gap = logistic(np.float64(scores[last + label - 1]), 1.0)
        value += one
    for k in range(scores.size):
        scores[k] = 0.0
    if label < last:
        scores[label] = weight * above
    if label > 0:
        scores[label - 1] = weight * below
    if 0 < label < last:
        scores[last + label - 1] = weight * gap
    return value


@dataclass(frozen=True)
class Loss:
    """One loss: of a prediction and a target, or of all scores of a row and a label.

    Attributes
    ----------
    pair
        The compiled (value, derivative), a function of (prediction, target, constant); None where
        the loss is one of whole rows.
    targets
        What targets it takes, in words.
    rule
        The same for the kernels.
    constant
        Default of what the loss calls its own; None where it has no such thing.
    bounds
        The constant lies between these, both left out.
    rows
        The function over a share of rows.
    degree
        1 or 2 where the loss of predictions and targets that are all shifted alike stays, and
        that of all multiplied with c is c to this power as large; else 0.
    scales_constant
        Whether the constant is then to be multiplied with c, too.
    smooth
        Whether its derivative has no jumps, as methods on the full gradient take for granted.
    """

    pair: Callable[..., tuple[float, float]] | None
    targets: str
    rule: int = NUMBERS
    constant: float | None = None
    bounds: tuple[float, float] = (0.0, math.inf)
    rows: Callable[..., int] = pointwise
    degree: int = 0
    scales_constant: bool = False
    smooth: bool = True

    def rows_address(self, real: Any) -> int:
        """Return the address of the compiled function over rows, for parameters of this dtype."""
        return _rows_address(self.rows, np.dtype(real))

    def pair_address(self) -> int:
        """Return the address of the pointwise function; 0 where there is none."""
        return 0 if self.pair is None else _pair_address(self.pair)


@remembered
def _rows_address(rows: Callable[..., int], real: np.dtype) -> int:
    return int(part(rows, loss_of(real_of(real))).address)


@remembered
def _pair_address(pair: Callable[..., tuple[float, float]]) -> int:
    return int(part(pair, PAIR).address)


_NUMBERS, _LABELS = "finite numbers", "labels 0 and 1"
_CLASSES = "whole labels from 0 to the number of classes less 1"

LOSSES = {
    "squared": Loss(squared, _NUMBERS, degree=2),
    "logistic": Loss(logistic, _LABELS, LABELS),
    "hinge": Loss(hinge, _LABELS, LABELS, smooth=False),
    "squared_hinge": Loss(squared_hinge, _LABELS, LABELS),
    "huber": Loss(huber, _NUMBERS, constant=1.35, degree=2, scales_constant=True),
    "quantile": Loss(quantile, _NUMBERS, constant=0.5, bounds=(0.0, 1.0), degree=1, smooth=False),
    "poisson": Loss(poisson, "finite numbers of at least 0", COUNTS),
    "epsilon_insensitive": Loss(
        epsilon_insensitive,
        _NUMBERS,
        constant=0.1,
        degree=1,
        scales_constant=True,
        smooth=False,
    ),
    "softmax": Loss(None, _CLASSES, rows=softmax),
    "ordinal": Loss(None, _CLASSES, rows=ordinal),
}


def loss_constant(name: str, constant: float | None = None) -> float:
    """Return the constant with which a loss of the table is to be evaluated, 0 if it has none.

    Raises
    ------
    InputError
        If the loss has no constant, or its constant lies elsewhere.

    Examples
    --------
    >>> loss_constant("huber"), loss_constant("quantile", 0.9), loss_constant("squared")
    (1.35, 0.9, 0.0)
    """
    loss = LOSSES[name]
    if loss.constant is None:
        if constant is not None:
            raise InputError(f"the {name} loss has no constant, but {constant} was given for it")
        return 0.0
    low, high = loss.bounds
    value = loss.constant if constant is None else float(constant)
    if not low < value < high:
        raise InputError(
            f"the constant of the {name} loss must be above {low:g} and below {high:g}, not "
            f"{value}; the default is {loss.constant}"
        )
    return value
