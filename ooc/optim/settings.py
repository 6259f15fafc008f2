"""What every compiled update reads: one vector of settings, and the learning rate in it."""

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.optim.schedules import rate_factor

# The codes by which the compiled `update_piece` chooses.
SGD, MOMENTUM, ADAM, NESTEROV, ADAGRAD, RMSPROP, ADAMW, AVERAGED = range(8)
# Those whose step is the gradient times the rate.
PLAIN = (SGD, AVERAGED)

# Entries of the float64 settings: which update, its learning rate, two factors that a run may
# change as it goes on (a plateau lowers the one, a temperature heats or cools with the other), the
# schedule's code and constants, penalties, the largest norm of a gradient
# (0: any), and from OWN on the constants that the optimizer calls its own.
CODE, RATE, FACTOR, HEAT, SCHEDULE, WARMUP, FIRST, SECOND, L2, L1, CLIP, OWN = range(12)
OWN_CONSTANTS = 4
SETTINGS = OWN + OWN_CONSTANTS


@exact_kernel
def rate_at(settings: np.ndarray, step: int) -> float:
    """Return the learning rate of a step, counted from 0.

    Examples
    --------
    >>> settings = np.zeros(SETTINGS)
    >>> settings[RATE], settings[FACTOR], settings[HEAT], settings[WARMUP] = 0.5, 1.0, 1.0, 4
    >>> rate_at(settings, 0), rate_at(settings, 9)
    (0.125, 0.5)
    """
    schedule, warmup = int(settings[SCHEDULE]), int(settings[WARMUP])
    factor = rate_factor(schedule, warmup, settings[FIRST], settings[SECOND], step)
    return settings[RATE] * settings[FACTOR] * settings[HEAT] * factor
