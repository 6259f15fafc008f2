"""One step of any optimizer, chosen by its code: nothing is compiled again for another choice."""

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.optim.adaptive import adam_square_scale, adam_update, root_update
from ooc.optim.descent import (
    add_iterate,
    hold_average,
    momentum_update,
    sgd_update,
)
from ooc.optim.penalties import (
    clip_scale,
    prepare,
    shrink,
    shrink_scaled,
)
from ooc.optim.settings import (
    ADAGRAD,
    ADAM,
    ADAMW,
    AVERAGED,
    CODE,
    L1,
    L2,
    MOMENTUM,
    NESTEROV,
    OWN,
    RMSPROP,
    rate_at,
)


@exact_kernel
def update(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    penalised: np.ndarray,
) -> None:
    """Take one step of the optimizer that these settings are of.

    An entry whose gradient is always zero and that is not penalised never changes.

    Parameters
    ----------
    parameters
        (P,) float32, updated in place.
    gradient
        (P,) float64, the mean gradient without penalties; it may be overwritten.
    state
        (slots, P) float64, updated in place.
    settings
        What `Optimizer.settings` returned.
    step
        Number of the step, from 0.
    penalised
        (P,) bool, whether penalties are for this entry.

    Examples
    --------
    >>> from ooc.optim import sgd
    >>> w, penalised = np.array([1, -0.25, 1], np.float32), np.array([True, True, False])
    >>> settings = sgd(0.5, l1=1.0).settings()
    >>> update(w, np.zeros(3), np.zeros((0, 3)), settings, 0, penalised)
    >>> w.tolist()
    [0.5, 0.0, 1.0]
    """
    scale = clip_scale(gradient, settings)
    # A plain 0 would be a type of its own, and all that follows would be compiled for it, too.
    whole = int(np.int64(0))
    update_piece(parameters, gradient, state, settings, step, penalised, whole, scale)


@exact_kernel
def update_piece(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    penalised: np.ndarray,
    first: int,
    scale: float,
) -> None:
    """Take one step for the piece of the parameters that begins at `first` of the whole vector.

    Parameters
    ----------
    parameters, gradient
        Of the piece alone; the gradient may be overwritten.
    state, penalised
        Of the whole vector: a piece of the state would not be contiguous, and half as fast.
    scale
        What the gradient is multiplied with, see `clip_scale`.
    """
    code = int(settings[CODE])
    kept = 1.0 - rate_at(settings, step) * settings[OWN + 3] if code == ADAMW else 1.0
    if scale != 1.0 or settings[L2] > 0 or kept != 1.0:
        prepare(parameters, gradient, penalised, first, scale, settings[L2], kept)
    if code in (ADAM, ADAMW):
        adam_update(parameters, gradient, state, settings, step, first)
    elif code in (ADAGRAD, RMSPROP):
        root_update(parameters, gradient, state, settings, step, first)
    elif code in (MOMENTUM, NESTEROV):
        momentum_update(parameters, gradient, state, settings, step, first)
    else:
        if code == AVERAGED:
            hold_average(parameters, state, first)
        sgd_update(parameters, gradient, settings, step)
    if settings[L1] > 0:
        shrink_piece(parameters, gradient, state, settings, step, penalised, first)
    if code == AVERAGED:
        add_iterate(parameters, state, settings, step, first)


@exact_kernel
def shrink_piece(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    penalised: np.ndarray,
    first: int,
) -> None:
    """Apply the L1 penalty's proximal map after a step, with the length that the step had."""
    code, rate, l1 = int(settings[CODE]), rate_at(settings, step), settings[L1]
    last = first + parameters.size
    mask = penalised[first:last]
    if code in (ADAM, ADAMW, ADAGRAD, RMSPROP):
        square, scale, epsilon = state[0][first:last], 1.0, settings[OWN]
        if code == RMSPROP:
            epsilon = settings[OWN + 1]
        elif code != ADAGRAD:
            square, epsilon = state[1][first:last], settings[OWN + 2]
            scale = adam_square_scale(settings, step)
        shrink_scaled(parameters, square, mask, scale, epsilon, rate * l1)
    else:
        sums, length = gradient, rate
        if code in (MOMENTUM, NESTEROV):
            sums = state[0][first:last]
        if code == NESTEROV:
            length = rate * (1.0 + settings[OWN])
        shrink(parameters, sums, mask, length, l1)
