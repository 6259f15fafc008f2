"""Steps of plain descent with L1 and L2 penalties on wide sparse rows, row by row.

What the penalties take of a coefficient is taken when its column is met, see `ooc.optim.lazy`: no
step goes through all columns. Scores are those of coefficients that are up to date, and so are the
steps: it is the dense step, but for rounding.
"""

import numpy as np

from ooc.core.compiler import array_at, lean_kernel, lean_sums, view_at
from ooc.kernels.counters import OK
from ooc.kernels.linear import INTERCEPT, LOSS, OUTPUTS, PAIR, RULE
from ooc.kernels.row_steps import subtract_rows
from ooc.kernels.share import TOUCHED, Numbers, Output, PointLoss, Share, call_loss
from ooc.kernels.sparse import (
    AHEAD,
    CLASSES,
    CONSTANT,
    COUNT,
    INDEX_ADDRESS,
    SCALE,
    VALUE_ADDRESS,
    VALUE_BYTES,
    WIDTH,
    ask_for_row,
    score_rows,
)
from ooc.optim import lazy
from ooc.optim.settings import L1, L2, SETTINGS

# Entries of the model's integers behind those of `ooc.kernels.sparse`: addresses of the parameters
# of the first descent and of its state, and the vectors of state of each.
PARAMETERS, STATE, STATE_ROWS = 7, 8, 9
# A scale below this is brought back to 1, and a step that keeps less is taken with all entries.
SMALLEST_SCALE, LEAST_KEPT = 1e-6, 0.5


@lean_sums
def score_shrunk(
    extents: np.ndarray,
    like: np.floating,
    parameters: np.ndarray,
    state: np.ndarray,
    width: int,
    scale: float,
    intercept: bool,
    scores: np.ndarray,
) -> None:
    """Do as `ooc.kernels.sparse.score_rows` with what is left of coefficients after L1."""
    rows, outputs = scores.shape
    taken = state[lazy.SCALARS, lazy.TAKEN]
    for r in range(rows):
        if r + AHEAD < rows:
            ask_for_row(extents, r + AHEAD)
        count = extents[r, COUNT]
        columns = array_at(extents[r, INDEX_ADDRESS], (count,), np.uint32(0))
        values = array_at(extents[r, VALUE_ADDRESS], (count,), like)
        for k in range(outputs):
            first, total = np.uint64(k * width), 0.0
            for j in range(count):
                entry = first + np.uint64(columns[j])
                pending = taken - state[lazy.STAMPS, entry]
                weight = np.float64(parameters[entry])
                total += values[j] * lazy.rest_of(weight, pending)
            score = parameters.dtype.type(total * scale)
            scores[r, k] = score + parameters[outputs * width + k] if intercept else score


def accumulate_lazily(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Do as `ooc.kernels.columns.accumulate_slopes` with coefficients that are brought up to date.

    They are not changed: shares may be worked off side by side.
    """
    integers, reals, extents = numbers.integers, numbers.reals, share.integers
    rows, outputs, width = extents.shape[0], integers[OUTPUTS], integers[WIDTH]
    size, vectors = parameters.size, integers[STATE_ROWS]
    model = (parameters.ctypes.data - integers[PARAMETERS]) // (size * parameters.itemsize)
    address = integers[STATE] + 8 * model * vectors * size
    state = array_at(address, (vectors, size), np.float64(0))
    # Of a descent without penalties nothing was ever taken, and it may have no such state.
    kept = state[lazy.SCALARS, lazy.SCALE]
    scale, shrinks = reals[SCALE], kept > 0.0 and state[lazy.SCALARS, lazy.TAKEN] > 0.0
    if kept > 0.0:
        scale = scale * kept
    scores, intercept = view_at(output.gradient, 0, (rows, outputs)), integers[INTERCEPT] != 0
    is_single = integers[VALUE_BYTES] == 4
    if shrinks:
        given = (parameters, state, width, scale, intercept, scores)
        if is_single:
            score_shrunk(extents, np.float32(0), *given)
        else:
            score_shrunk(extents, np.float64(0), *given)
    elif is_single:
        score_rows(extents, np.float32(0), parameters, width, scale, intercept, scores)
    else:
        score_rows(extents, np.float64(0), parameters, width, scale, intercept, scores)
    for r in range(rows):
        for place in range(3):
            output.touched[3 * r + place] = extents[r, place]
    output.report[TOUCHED] = rows
    loss = PointLoss(integers[PAIR], integers[RULE], reals[CONSTANT], reals[CLASSES:])
    return call_loss(
        integers[LOSS], (scores, share.targets, share.weights, loss, output.terms, output.report)
    )


@lean_kernel
def subtract_from_rest(
    extents: np.ndarray,
    like: np.floating,
    slopes: np.ndarray,
    length: float,
    width: int,
    parameters: np.ndarray,
    state: np.ndarray,
) -> None:
    """Do as `ooc.kernels.row_steps.subtract_rows` with what is left of coefficients after L1."""
    rows, outputs = slopes.shape
    taken = state[lazy.SCALARS, lazy.TAKEN]
    for r in range(rows):
        size = extents[r, COUNT]
        places = array_at(extents[r, INDEX_ADDRESS], (size,), np.uint32(0))
        values = array_at(extents[r, VALUE_ADDRESS], (size,), like)
        for k in range(outputs):
            first, step = np.uint64(k * width), length * np.float64(slopes[r, k])
            # Rows beyond a hinge have none; NaN is not zero.
            if step == 0.0:
                continue
            for j in range(size):
                entry = first + np.uint64(places[j])
                weight = np.float64(parameters[entry])
                if state[lazy.STAMPS, entry] != taken:
                    pending = taken - state[lazy.STAMPS, entry]
                    weight = np.float64(lazy.rest_of(weight, pending))
                    state[lazy.STAMPS, entry] = taken
                parameters[entry] = weight - step * np.float64(values[j])


def step_lazily(work: np.ndarray, one: np.floating) -> int:
    """Take the step of plain descent with a batch's rows, and note what the penalties take."""
    w, integer, real = work[0], np.int64(0), np.float64(0)
    integers = array_at(w.integers, (w.integer_count,), integer)
    outputs, width, m = integers[OUTPUTS], integers[WIDTH], w.model
    length = w.rate / w.in_batch if w.mean != 0 else w.rate
    factor = array_at(w.reals, (w.real_count,), real)[SCALE]
    parameters = array_at(w.parameters + m * w.size * w.item, (w.size,), one)
    state = array_at(w.state + 8 * m * w.state_rows * w.size, (w.state_rows, w.size), real)
    settings = array_at(w.settings + 8 * (m * w.phases + w.turn) * SETTINGS, (SETTINGS,), real)
    l1, kept, scale = settings[L1], 1.0 - w.rate * settings[L2], 1.0
    is_penalised = l1 > 0.0 or settings[L2] > 0.0
    if is_penalised:
        scale = state[lazy.SCALARS, lazy.SCALE] * kept
        if kept < LEAST_KEPT or scale < SMALLEST_SCALE:
            lazy.catch_up(parameters, state, kept)
            scale = 1.0
    sums = array_at(w.gradient, (outputs,), real)
    for k in range(outputs):
        sums[k] = 0.0
    for slot in range(w.used):
        at = m * w.slots + slot
        rows = array_at(w.reports + at * 16, (2,), integer)[TOUCHED]
        slopes = array_at(w.gradients + at * w.gradient_size * w.item, (rows, outputs), one)
        extents = array_at(w.touched + at * w.capacity * 8, (rows, 3), integer)
        given = (slopes, length * factor / scale, width, parameters)
        is_single = integers[VALUE_BYTES] == 4
        if l1 > 0.0 and is_single:
            subtract_from_rest(extents, np.float32(0), *given, state)
        elif l1 > 0.0:
            subtract_from_rest(extents, np.float64(0), *given, state)
        elif is_single:
            subtract_rows(extents, np.float32(0), *given)
        else:
            subtract_rows(extents, np.float64(0), *given)
        for r in range(rows):
            for k in range(outputs):
                sums[k] += np.float64(slopes[r, k])
    if integers[INTERCEPT] != 0:
        for k in range(outputs):
            parameters[outputs * width + k] -= length * sums[k]
    if is_penalised:
        state[lazy.SCALARS, lazy.SCALE] = scale
        state[lazy.SCALARS, lazy.TAKEN] += w.rate * l1 / scale
    return OK
