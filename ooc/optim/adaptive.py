"""Steps whose length each parameter has of its own, from the squares of its gradients.

The arguments are those of `ooc.optim.descent`.
"""

import math

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.optim.settings import CODE, OWN, RMSPROP, rate_at


@exact_kernel
def root_update(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    first: int,
) -> None:
    """Divide by the root of AdaGrad's sum, or RMSProp's running mean, of squares: ``state[0]``."""
    rate = rate_at(settings, step)
    kept, fresh, epsilon = 1.0, 1.0, settings[OWN]
    if settings[CODE] == RMSPROP:
        kept, fresh, epsilon = settings[OWN], 1.0 - settings[OWN], settings[OWN + 1]
    square = state[0][first : first + parameters.size]
    for i in range(parameters.size):
        g = gradient[i]
        square[i] = kept * square[i] + fresh * g * g
        parameters[i] -= rate * g / (math.sqrt(square[i]) + epsilon)


@exact_kernel
def adam_update(
    parameters: np.ndarray,
    gradient: np.ndarray,
    state: np.ndarray,
    settings: np.ndarray,
    step: int,
    first: int,
) -> None:
    """Divide the running mean, ``state[0]``, by the root of that of squares, ``state[1]``."""
    rate = rate_at(settings, step)
    beta1, beta2, epsilon = settings[OWN], settings[OWN + 1], settings[OWN + 2]
    mean_scale = 1.0 / (1.0 - beta1 ** (step + 1))
    square_scale = adam_square_scale(settings, step)
    mean = state[0][first : first + parameters.size]
    square = state[1][first : first + parameters.size]
    for i in range(parameters.size):
        g = gradient[i]
        mean[i] = beta1 * mean[i] + (1.0 - beta1) * g
        square[i] = beta2 * square[i] + (1.0 - beta2) * g * g
        parameters[i] -= (
            rate * (mean[i] * mean_scale) / (math.sqrt(square[i] * square_scale) + epsilon)
        )


@exact_kernel
def adam_square_scale(settings: np.ndarray, step: int) -> float:
    """Return the factor that takes the bias from Adam's running mean of squares."""
    return 1.0 / (1.0 - settings[OWN + 1] ** (step + 1))
