"""Steps along the gradient, with or without a memory of it, and the average of iterates.

In these functions `parameters` (float32) and `gradient` (float64) are of a piece of the vector
that begins at `first`, and `state` (float64) is of the whole vector: a piece of it would not be
contiguous, and half as fast.
"""

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.optim.settings import CODE, NESTEROV, OWN, rate_at


@exact_kernel
def sgd_update(
    parameters: np.ndarray, gradient: np.ndarray, settings: np.ndarray, step: int
) -> None:
    """Take ``w -= rate * gradient``."""
    rate = rate_at(settings, step)
    for i in range(parameters.size):
        parameters[i] -= rate * gradient[i]


@exact_kernel
def momentum_update(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    first: int,
) -> None:
    """Take ``v = memory * v + gradient; w -= rate * v``; v is ``state[0]``.

    Nesterov's looks ahead: ``w -= rate * (gradient + memory * v)``.
    """
    rate, memory = rate_at(settings, step), settings[OWN]
    fresh, kept = (1.0, memory) if settings[CODE] == NESTEROV else (0.0, 1.0)
    velocity = state[0][first : first + parameters.size]
    for i in range(parameters.size):
        velocity[i] = memory * velocity[i] + gradient[i]
        parameters[i] -= rate * (fresh * gradient[i] + kept * velocity[i])


@exact_kernel
def hold_average(parameters: np.ndarray, state: np.ndarray, first: int) -> None:
    """Turn ``state[0]``, by which the average of iterates is ahead of the iterate, into it.

    The difference is what is kept between steps: a zeroed state says, rightly, that there is no
    average but the iterate, and the state needs no first iterate to begin with.
    """
    ahead = state[0][first : first + parameters.size]
    for i in range(parameters.size):
        ahead[i] += parameters[i]


@exact_kernel
def add_iterate(
    parameters: np.ndarray, state: np.ndarray, settings: np.ndarray, step: int, first: int
) -> None:
    """Take the new iterate into the average, and turn it into a difference again.

    The average is over the iterates of steps ``settings[OWN]`` and later; before that it is the
    iterate.
    """
    ahead = state[0][first : first + parameters.size]
    count = max(step - int(settings[OWN]) + 1, 1)
    kept = 1.0 - 1.0 / count
    for i in range(parameters.size):
        ahead[i] = kept * (ahead[i] - parameters[i])
