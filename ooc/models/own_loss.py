"""A loss of the user's own: one compiled function of a prediction and a target."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numba

from ooc.core.compiler import part
from ooc.core.errors import InputError
from ooc.kernels.losses import Loss
from ooc.kernels.share import PAIR

# Where a derivative is compared with finite differences: predictions, and targets.
_PREDICTIONS = (-2.7, -1.1, -0.3, 0.2, 0.9, 2.3)
_TARGETS = (0.0, 1.0)
_STEP = 1e-5
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class OwnLoss:
    """A loss that `own_loss` has checked and compiled; `label` is its name in a saved run."""

    label: str
    loss: Loss = field(repr=False, compare=False)


def own_loss(
    pair: Callable[[float, float], tuple[float, float]], targets: tuple[float, ...] = _TARGETS
) -> OwnLoss:
    """Make a loss from one ``@numba.njit`` function (prediction, target) -> (value, derivative).

    The derivative, with respect to the prediction, is compared with finite differences. The
    function is compiled once in a process, and runs inside the window loop like any other loss.

    Parameters
    ----------
    pair
        Of two floats; a plain function is compiled here.
    targets
        Some targets for which it is defined, to check it at.

    Raises
    ------
    InputError
        If it cannot be compiled, or its derivative is not the slope of its value.

    Examples
    --------
    >>> @numba.njit
    ... def cosh(prediction, target):
    ...     return np.log(np.cosh(prediction - target)), np.tanh(prediction - target)
    >>> own_loss(cosh).label
    'own:cosh'
    """
    compiled = pair if hasattr(pair, "py_func") else numba.njit(pair)
    name = compiled.py_func.__name__
    try:
        for target in targets:
            for prediction in _PREDICTIONS:
                _check_slope(compiled, name, prediction, target)
    except numba.core.errors.NumbaError as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"the loss {name} cannot be compiled: {first}") from None

    def whole(prediction: float, target: float, constant: float) -> tuple[float, float]:
        value, derivative = compiled(prediction, target)
        return value, derivative

    # It is a closure, and compiled anew in every process: the function is not known before.
    part(whole, PAIR, cache=False)
    return OwnLoss(f"own:{name}", Loss(whole, "finite numbers"))


def _check_slope(pair: Any, name: str, prediction: float, target: float) -> None:
    told = pair(prediction, target)
    if not (isinstance(told, tuple) and len(told) == 2):
        raise InputError(f"the loss {name} returns {told!r}, not a value and its derivative")
    value, derivative = told
    above, below = pair(prediction + _STEP, target)[0], pair(prediction - _STEP, target)[0]
    slope = (above - below) / (2 * _STEP)
    # A kink that happens to lie here has two slopes; the derivative may be any between them.
    sides = sorted([(above - value) / _STEP, (value - below) / _STEP])
    room = _TOLERANCE * max(1.0, abs(slope))
    fits = sides[0] - room <= derivative <= sides[1] + room
    if not (math.isfinite(value) and fits):
        raise InputError(
            f"the loss {name} has value {value:.6g} and derivative {derivative:.6g} at prediction "
            f"{prediction} and target {target}, but finite differences say {slope:.6g}; return "
            "(value, derivative with respect to the prediction)"
        )
