"""Pointwise losses: (prediction, target) -> (value, derivative with respect to the prediction).

A new loss is one function, one entry of `LOSSES` and one branch of `value_and_derivative`. Some
take a constant as a third argument. At a kink the derivative is 0 where 0 is a subgradient, and
that of the flat side elsewhere. A prediction that is not finite has a value that is not finite.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ooc.core.compiler import exact_kernel
from ooc.core.errors import InputError

SQUARED, LOGISTIC, HINGE, SQUARED_HINGE, HUBER, QUANTILE, POISSON, EPSILON_INSENSITIVE = range(8)


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
def hinge(prediction: float, target: float) -> tuple[float, float]:
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


@exact_kernel
def squared_hinge(prediction: float, target: float) -> tuple[float, float]:
    """Square of `hinge`, which is smooth.

    Examples
    --------
    >>> squared_hinge(0.5, 1.0)
    (0.25, -1.0)
    """
    shortfall, slope = hinge(prediction, target)
    return shortfall * shortfall, 2.0 * shortfall * slope


@exact_kernel
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


@exact_kernel
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


@exact_kernel
def poisson(prediction: float, target: float) -> tuple[float, float]:
    """Negative log-likelihood of a count whose mean's logarithm is predicted, up to a constant.

    Examples
    --------
    >>> poisson(0.0, 3.0)
    (1.0, -2.0)
    """
    mean = math.exp(prediction)
    return mean - target * prediction, mean - target


@exact_kernel
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


@exact_kernel
def value_and_derivative(
    code: int, prediction: float, target: float, constant: float
) -> tuple[float, float]:
    """Evaluate the loss that has this code; kernels choose a loss by it without recompiling.

    `constant` is what some losses call their own; see `loss_constant`.

    Examples
    --------
    >>> value_and_derivative(HUBER, -5.0, 0.0, 2.0)
    (8.0, -2.0)
    """
    if code == LOGISTIC:
        return logistic(prediction, target)
    if code == HINGE:
        return hinge(prediction, target)
    if code == SQUARED_HINGE:
        return squared_hinge(prediction, target)
    if code == HUBER:
        return huber(prediction, target, constant)
    if code == QUANTILE:
        return quantile(prediction, target, constant)
    if code == POISSON:
        return poisson(prediction, target)
    if code == EPSILON_INSENSITIVE:
        return epsilon_insensitive(prediction, target, constant)
    return squared(prediction, target)


@exact_kernel
def target_is_valid(code: int, target: float) -> bool:
    """Tell whether a loss is defined for this target: a label, a count, or any finite number.

    Examples
    --------
    >>> target_is_valid(LOGISTIC, 1.0), target_is_valid(LOGISTIC, -1.0)
    (True, False)
    """
    if code in (LOGISTIC, HINGE, SQUARED_HINGE):
        return target == 0.0 or target == 1.0
    if code == POISSON and target < 0:
        return False
    return math.isfinite(target)


@dataclass(frozen=True)
class Loss:
    """One pointwise loss.

    Attributes
    ----------
    code
        What the kernels choose by.
    pair
        The compiled (value, derivative), a function of (prediction, target) or, where there is a
        constant, of (prediction, target, constant).
    targets
        What targets it takes, in words.
    labels
        Whether they are labels 0 and 1.
    constant
        Default of what the loss calls its own; None where it has no such thing.
    bounds
        The constant lies between these, both left out.
    """

    code: int
    pair: Callable[..., tuple[float, float]]
    targets: str
    labels: bool = False
    constant: float | None = None
    bounds: tuple[float, float] = (0.0, math.inf)


NUMBERS, LABELS = "finite numbers", "labels 0 and 1"

LOSSES = {
    "squared": Loss(SQUARED, squared, NUMBERS),
    "logistic": Loss(LOGISTIC, logistic, LABELS, labels=True),
    "hinge": Loss(HINGE, hinge, LABELS, labels=True),
    "squared_hinge": Loss(SQUARED_HINGE, squared_hinge, LABELS, labels=True),
    "huber": Loss(HUBER, huber, NUMBERS, constant=1.35),
    "quantile": Loss(QUANTILE, quantile, NUMBERS, constant=0.5, bounds=(0.0, 1.0)),
    "poisson": Loss(POISSON, poisson, "finite numbers of at least 0"),
    "epsilon_insensitive": Loss(EPSILON_INSENSITIVE, epsilon_insensitive, NUMBERS, constant=0.1),
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
