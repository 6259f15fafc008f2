"""A loss of the user's own: one compiled function of a prediction and a target."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np

from ooc.core.errors import InputError
from ooc.kernels.counters import NOT_FINITE, OK
from ooc.kernels.linear import OWN_LOSS

# Where a derivative is compared with finite differences: predictions, and targets.
_PREDICTIONS = (-2.7, -1.1, -0.3, 0.2, 0.9, 2.3)
_TARGETS = (0.0, 1.0)
_STEP = 1e-5
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class OwnLoss:
    """A loss that `own_loss` has checked and compiled.

    Attributes
    ----------
    label
        What it is called in a saved run.
    pair
        The user's function.
    tile
        The same over a tile of rows, for the kernels to call.
    """

    label: str
    pair: Callable[[float, float], tuple[float, float]]
    tile: Any = field(repr=False, compare=False)


def own_loss(
    pair: Callable[[float, float], tuple[float, float]],
    targets: tuple[float, ...] = _TARGETS,
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
    return OwnLoss(f"own:{name}", compiled, _over_tile(compiled))


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


def _over_tile(pair: Any) -> Any:
    """Compile the loop over a tile's rows around the user's function.

    It is a closure, and so compiled anew in every process: the user's function is not known
    before.
    """

    @numba.cfunc(OWN_LOSS.signature)
    def tile(scores, targets, weights, count, out):  # type: ignore[no-untyped-def]
        total = 0.0
        for r in range(count):
            weight = np.float64(weights[r]) if weights.size > 0 else 1.0
            value, derivative = pair(np.float64(scores[r, 0]), np.float64(targets[r]))
            value *= weight
            if not (math.isfinite(value) and math.isfinite(derivative)):
                out[0], out[1], out[2] = NOT_FINITE, r, total
                return
            scores[r, 0] = weight * derivative
            total += value
        out[0], out[1], out[2] = OK, -1, total

    return tile
