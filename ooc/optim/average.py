"""The exponential average of the iterates that any optimizer may keep beside its own state.

One vector of state says how far the average is ahead of the iterate, as in
`ooc.optim.optimizers.update_averaged`: zeros say that there is no average but the iterate.
"""

import numpy as np

from ooc.core.compiler import lean_kernel


@lean_kernel
def begin(parameters: np.ndarray, ahead: np.ndarray) -> None:
    """Turn how far the average is ahead into the average itself, before a step moves the iterate.

    Parameters
    ----------
    parameters, ahead
        (size,), a piece of the vector, and the state from its vector and the piece's first entry
        on, float64.
    """
    for i in range(parameters.size):
        ahead[0, i] += parameters[i]


@lean_kernel
def end(parameters: np.ndarray, ahead: np.ndarray, keeps: float, step: int) -> None:
    """Take the iterate after the step into the average, and keep how far that is ahead.

    ``average = k average + (1 - k) iterate`` with ``k = min(keeps, (1 + step)/(10 + step))``.
    """
    kept = min(keeps, (1.0 + step) / (10.0 + step))
    for i in range(parameters.size):
        ahead[0, i] = kept * (ahead[0, i] - parameters[i])
