"""Steps of the linear family on wide sparse rows: only the columns of a batch are changed.

A share leaves the slopes of its rows by their scores, and where their non-zeros are. When the batch
is whole, a table in the caches tells which columns they are in, each in the order in which it is
met first, and their gradients are added up side by side: no memory is as wide as the rows.
"""

import numpy as np

from ooc.core.compiler import array_at, lean_kernel, view_at
from ooc.core.hashing import mix
from ooc.kernels.counters import OK
from ooc.kernels.linear import INTERCEPT, LOSS, OUTPUTS, PAIR, RULE
from ooc.kernels.share import TOUCHED, Numbers, Output, PointLoss, Share, call_loss
from ooc.kernels.sparse import (
    CLASSES,
    CONSTANT,
    COUNT,
    INDEX_ADDRESS,
    SCALE,
    VALUE_ADDRESS,
    VALUE_BYTES,
    WIDTH,
    score_rows,
)
from ooc.kernels.steps import step_with
from ooc.optim.settings import SETTINGS
from ooc.optim.step import step_piece

# Entries that an optimizer is given side by side, in the memory of the loop's `halves`.
CHUNK = 512
_FREE = -1
# A place of the table holds a column, and below so many bits its number.
_BITS = np.int64(32)
_NUMBER = np.int64(2**32 - 1)


def accumulate_slopes(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill the loss of a share, and leave slopes and rows, (rows, K) and (rows, 3)."""
    integers, reals, extents = numbers.integers, numbers.reals, share.integers
    rows, outputs = extents.shape[0], integers[OUTPUTS]
    given = (integers[WIDTH], reals[SCALE], integers[INTERCEPT] != 0)
    scores = view_at(output.gradient, 0, (rows, outputs))
    if integers[VALUE_BYTES] == 4:
        score_rows(extents, np.float32(0), parameters, *given, scores)
    else:
        score_rows(extents, np.float64(0), parameters, *given, scores)
    for r in range(rows):
        for place in range(3):
            output.touched[3 * r + place] = extents[r, place]
    output.report[TOUCHED] = rows
    loss = PointLoss(integers[PAIR], integers[RULE], reals[CONSTANT], reals[CLASSES:])
    return call_loss(
        integers[LOSS], (scores, share.targets, share.weights, loss, output.terms, output.report)
    )


@lean_kernel
def add_rows(
    extents: np.ndarray,
    like: np.floating,
    slopes: np.ndarray,
    factor: float,
    gradient: np.ndarray,
    table: np.ndarray,
    columns: np.ndarray,
    count: int,
) -> int:
    """Add a share's rows to the gradients of the columns listed so far; return how many are."""
    rows, outputs = slopes.shape
    mask = np.uint64(table.size - 1)
    for r in range(rows):
        size = extents[r, COUNT]
        places = array_at(extents[r, INDEX_ADDRESS], (size,), np.uint32(0))
        values = array_at(extents[r, VALUE_ADDRESS], (size,), like)
        for j in range(size):
            column = np.int64(places[j])
            place = mix(np.uint64(column)) & mask
            while table[place] != _FREE and table[place] >> _BITS != column:
                place = (place + np.uint64(1)) & mask
            if table[place] == _FREE:
                table[place] = (column << _BITS) | count
                columns[count] = column
                for k in range(outputs):
                    gradient[count * outputs + k] = 0.0
                count += 1
            first, value = (table[place] & _NUMBER) * outputs, np.float64(values[j]) * factor
            for k in range(outputs):
                gradient[first + k] += slopes[r, k] * value
    return count


def merge_columns(work: np.ndarray, one: np.floating) -> int:
    """Fill the gradients of a batch's columns, and behind them the intercepts'.

    Returns a number above 0: one more than the columns.
    """
    w, integer, real = work[0], np.int64(0), np.float64(0)
    integers = array_at(w.integers, (w.integer_count,), integer)
    outputs, width = integers[OUTPUTS], integers[WIDTH]
    factor = 1.0 / w.in_batch if w.mean != 0 else 1.0
    scale = array_at(w.reals, (w.real_count,), real)[SCALE]
    nonzeros, count = int(integer), int(integer)
    for slot in range(w.used):
        at = w.model * w.slots + slot
        rows = array_at(w.reports + at * 16, (2,), integer)[TOUCHED]
        extents = array_at(w.touched + at * w.capacity * 8, (rows, 3), integer)
        for r in range(rows):
            nonzeros += extents[r, COUNT]
    # Half of the table stays free, whatever this batch has, and no more than that is cleared.
    places = 2
    while places < 2 * min(nonzeros, width):
        places *= 2
    table = array_at(w.places, (places,), integer)
    table[:] = _FREE
    columns = array_at(w.merged, (w.gradient_count // outputs,), integer)
    gradient = array_at(w.gradient, (w.gradient_count,), real)
    for slot in range(w.used):
        at = w.model * w.slots + slot
        rows = array_at(w.reports + at * 16, (2,), integer)[TOUCHED]
        slopes = array_at(w.gradients + at * w.gradient_size * w.item, (rows, outputs), one)
        extents = array_at(w.touched + at * w.capacity * 8, (rows, 3), integer)
        given = (slopes, factor * scale, gradient, table, columns, count)
        if integers[VALUE_BYTES] == 4:
            count = add_rows(extents, np.float32(0), *given)
        else:
            count = add_rows(extents, np.float64(0), *given)
    if integers[INTERCEPT] != 0:
        for k in range(outputs):
            total = 0.0
            for slot in range(w.used):
                at = w.model * w.slots + slot
                rows = array_at(w.reports + at * 16, (2,), integer)[TOUCHED]
                first = w.gradients + at * w.gradient_size * w.item
                slopes = array_at(first, (rows, outputs), one)
                for r in range(rows):
                    total += np.float64(slopes[r, k])
            gradient[count * outputs + k] = total * factor
    return 1 + count


def step_columns(work: np.ndarray, one: np.floating) -> int:
    """Take the optimizer's step with the batch's columns, side by side, and the intercepts."""
    w, integer, real = work[0], np.int64(0), np.float64(0)
    integers = array_at(w.integers, (w.integer_count,), integer)
    outputs, width, m = integers[OUTPUTS], integers[WIDTH], w.model
    count = w.touched_count - 1
    columns = array_at(w.merged, (w.gradient_count // outputs,), integer)
    parameters = array_at(w.parameters + m * w.size * w.item, (w.size,), one)
    state = array_at(w.state + 8 * m * w.state_rows * w.size, (w.state_rows, w.size), real)
    settings = array_at(w.settings + 8 * (m * w.phases + w.turn) * SETTINGS, (SETTINGS,), real)
    update = array_at(w.updates, (w.models, w.phases), integer)[m, w.turn]
    mask = array_at(w.halves, (CHUNK,), np.bool_(True))
    mask[:] = True
    places = array_at(w.halves + 8 * CHUNK, (CHUNK,), integer)
    for begin in range(0, count * outputs, CHUNK):
        size = min(CHUNK, count * outputs - begin)
        slopes = array_at(w.gradient + 8 * begin, (size,), real)
        taken = array_at(w.halves + 16 * CHUNK, (size,), one)
        states = array_at(w.halves + 24 * CHUNK, (w.state_rows, size), real)
        for i in range(size):
            column, k = columns[(begin + i) // outputs], (begin + i) % outputs
            places[i] = k * width + column
        for i in range(size):
            taken[i] = parameters[places[i]]
        for s in range(w.state_rows):
            for i in range(size):
                states[s, i] = state[s, places[i]]
        step_piece(
            update, taken, slopes, states, settings, w.rate, w.own_step, mask, int(integer), 1.0
        )
        for i in range(size):
            parameters[places[i]] = taken[i]
        for s in range(w.state_rows):
            for i in range(size):
                state[s, places[i]] = states[s, i]
    if integers[INTERCEPT] != 0:
        first, slopes = outputs * width, w.gradient + 8 * count * outputs
        step_with(
            work, first, view_at(parameters, first, (outputs,)), array_at(slopes, (outputs,), real)
        )
    return OK
