"""What every compiled update reads: a piece of the vectors, and one vector of settings."""

from typing import NamedTuple

import numpy as np

from ooc.core.compiler import lean_kernel
from ooc.optim.schedules import rate_factor

# Entries of the float64 settings: the learning rate; two factors that a run may change as it goes
# on (a plateau lowers the one, a temperature heats or cools with the other); the address of the
# schedule's rule, its warm-up and constants; penalties; the largest norm of a gradient (0: any);
# the decoupled decay of parameters; how many times the rate a long run walks for a constant
# gradient of 1 (0 where each parameter has a rate of its own); what an exponential average keeps
# of itself in a step, and the vector of state it is in; and from OWN on the constants that the
# optimizer calls its own.
RATE, FACTOR, HEAT, SCHEDULE, WARMUP, FIRST, SECOND, L2, L1, CLIP, DECAY, REACH = range(12)
AVERAGE, AHEAD, OWN = range(12, 15)
OWN_CONSTANTS = 4
SETTINGS = OWN + OWN_CONSTANTS


class Piece(NamedTuple):
    """What an update steps: a run of the flat vector's entries, and what belongs to them.

    Attributes
    ----------
    parameters
        (size,) float32 or float64.
    gradient
        (size,) float64, that of the mean loss, clipped, with the L2 penalty's; an update may
        overwrite it.
    penalised
        (size,) bool.
    state
        (slots, P) float64, of the whole vector; the piece's part of a row begins at `first`.
    first
        Where in the whole vector the piece begins.
    """

    parameters: np.ndarray
    gradient: np.ndarray
    penalised: np.ndarray
    state: np.ndarray
    first: int


@lean_kernel
def rate_at(settings: np.ndarray, step: int) -> float:
    """Return the learning rate of a step, counted from 0."""
    rule, warmup = np.int64(settings[SCHEDULE]), np.int64(settings[WARMUP])
    factor = rate_factor(rule, warmup, settings[FIRST], settings[SECOND], step)
    return settings[RATE] * settings[FACTOR] * settings[HEAT] * factor
