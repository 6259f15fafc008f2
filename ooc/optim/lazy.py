"""Penalties of plain descent on wide sparse rows, taken when a column is met again.

Between two batches that have its column a coefficient shrinks at every step: by a factor for L2, by
a length for L1. Both are closed forms of all steps together. Coefficients are kept as ``w = scale *
v``: L2 changes the scale alone, and L1 takes of every ``|v|`` what the steps since its last
gradient add up to, no more than there is (Tsuruoka, Tsujii and Ananiadou 2009, with the cumulative
penalty of proximal steps). Beside v lie two vectors of state: what had been taken in all when an
entry was met last, and, in the second, the scale and what has been taken in all.
"""

import math

import numpy as np

from ooc.core.compiler import lean_kernel, small_kernel

# Vectors of state, and entries of the second one.
STAMPS, SCALARS, SLOTS = 0, 1, 2
SCALE, TAKEN = 0, 1
# The stamp of an entry that is not penalised: what is taken is never below 0.
UNPENALISED = -1.0


def begin(state: np.ndarray, penalised: np.ndarray) -> None:
    """Make zeroed vectors of state, (SLOTS, P), those of entries from which nothing was taken."""
    if state[SCALARS, SCALE] == 0.0:
        state[SCALARS, SCALE] = 1.0
        state[STAMPS, ~penalised] = UNPENALISED


@small_kernel
def rest_of(value: float, taken: float) -> float:
    """Return what is left of a value of which so much is taken, and zero if that is all."""
    # NaN is not below it, and stays NaN.
    if abs(value) <= taken:
        return 0.0
    return value - math.copysign(taken, value)


@lean_kernel
def catch_up(parameters: np.ndarray, state: np.ndarray, kept: float) -> None:
    """Bring all entries up to date, as ``kept`` times themselves: the scale is 1 after it."""
    scale, taken = state[SCALARS, SCALE], state[SCALARS, TAKEN]
    for i in range(parameters.size):
        stamp = state[STAMPS, i]
        if stamp >= 0.0:
            left = rest_of(np.float64(parameters[i]), taken - stamp)
            parameters[i] = left * scale * kept
            state[STAMPS, i] = 0.0
    state[SCALARS, SCALE], state[SCALARS, TAKEN] = 1.0, 0.0


@lean_kernel
def write_settled(parameters: np.ndarray, state: np.ndarray, out: np.ndarray) -> None:
    """Write entries that are up to date; the state stays."""
    scale, taken = state[SCALARS, SCALE], state[SCALARS, TAKEN]
    for i in range(parameters.size):
        stamp = state[STAMPS, i]
        if stamp >= 0.0:
            out[i] = rest_of(np.float64(parameters[i]), taken - stamp) * scale
        else:
            out[i] = parameters[i]
