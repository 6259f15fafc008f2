"""Steps of the linear family on wide sparse rows: only the columns of a batch are changed.

A share leaves the slopes of its rows by their scores, and where their non-zeros are. When the batch
is whole, their gradients are added up in a vector as long as the parameters, which says of each
entry whether a row before had it, so that no table is searched. Entries are listed in the order in
which they are met first; the step takes them alone, and leaves the vector as it found it.
"""

import numpy as np

from ooc.core.compiler import array_at, lean_kernel, prefetch, view_at
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
# What the gradient of an entry is before the first row that has it: no sum is -0.0 to which 0.0
# was added.
UNTOUCHED = -0.0
# So many rows ahead their entries are asked for.
NEAR = 2
_BITS = np.int64(-(2**63))


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
def ask_for(
    places: np.ndarray, outputs: int, width: int, size: int, states: tuple[int, int, int]
) -> None:
    """Ask for gradient and state, (vectors, size) float64, of a row's entries."""
    gradient, state, vectors = states
    for k in range(outputs):
        for j in range(places.size):
            offset = 8 * (k * width + np.int64(places[j]))
            prefetch(gradient + offset)
            for s in range(vectors):
                prefetch(state + 8 * s * size + offset)


@lean_kernel
def add_rows(
    extents: np.ndarray,
    like: np.floating,
    slopes: np.ndarray,
    factor: float,
    width: int,
    gradient: np.ndarray,
    bits: np.ndarray,
    entries: np.ndarray,
    count: int,
    states: tuple[int, int, int],
) -> int:
    """Add a share's rows to the gradient, and list what they are the first to have.

    Parameters
    ----------
    gradient, bits
        (P,) float64, and the same memory as int64.
    entries
        Where in the vector the first `count` are that were listed so far.
    states
        Addresses of the gradient and of the optimizer's state, and its vectors: of rows to come
        both are asked for, which lie anywhere in memory.

    Returns
    -------
    count
        How many are listed now.
    """
    rows, outputs = slopes.shape
    for r in range(rows):
        if r + NEAR < rows:
            size = extents[r + NEAR, COUNT]
            places = array_at(extents[r + NEAR, INDEX_ADDRESS], (size,), np.uint32(0))
            ask_for(places, outputs, width, gradient.size, states)
        size = extents[r, COUNT]
        places = array_at(extents[r, INDEX_ADDRESS], (size,), np.uint32(0))
        values = array_at(extents[r, VALUE_ADDRESS], (size,), like)
        for k in range(outputs):
            first, slope = np.uint64(k * width), np.float64(slopes[r, k])
            for j in range(size):
                entry = first + np.uint64(places[j])
                # No branch: which columns are new is anybody's guess.
                entries[count] = entry
                count += bits[entry] == _BITS
                gradient[entry] += slope * (np.float64(values[j]) * factor) + 0.0
    return count


def merge_columns(work: np.ndarray, one: np.floating) -> int:
    """Fill the gradient of a batch's entries, and the intercepts'.

    Returns a number above 0: one more than the entries that are listed.
    """
    w, integer, real = work[0], np.int64(0), np.float64(0)
    integers = array_at(w.integers, (w.integer_count,), integer)
    outputs, width = integers[OUTPUTS], integers[WIDTH]
    factor = 1.0 / w.in_batch if w.mean != 0 else 1.0
    scale, count = array_at(w.reals, (w.real_count,), real)[SCALE], int(integer)
    # What is not new is written behind the list, which has a place for that.
    entries = array_at(w.merged, (w.gradient_count,), integer)
    gradient = array_at(w.gradient, (w.gradient_count,), real)
    bits = array_at(w.gradient, (w.gradient_count,), integer)
    vectors = w.state_rows
    states = (w.gradient, w.state + 8 * w.model * vectors * w.size, vectors)
    for slot in range(w.used):
        at = w.model * w.slots + slot
        rows = array_at(w.reports + at * 16, (2,), integer)[TOUCHED]
        slopes = array_at(w.gradients + at * w.gradient_size * w.item, (rows, outputs), one)
        extents = array_at(w.touched + at * w.capacity * 8, (rows, 3), integer)
        given = (slopes, factor * scale, width, gradient, bits, entries, count, states)
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
            gradient[outputs * width + k] = total * factor
    return 1 + count


def step_columns(work: np.ndarray, one: np.floating) -> int:
    """Take the optimizer's step with the batch's entries, side by side, and the intercepts."""
    w, integer, real = work[0], np.int64(0), np.float64(0)
    integers = array_at(w.integers, (w.integer_count,), integer)
    outputs, width, m = integers[OUTPUTS], integers[WIDTH], w.model
    count = w.touched_count - 1
    entries = array_at(w.merged, (count,), np.uint64(0))
    gradient = array_at(w.gradient, (w.gradient_count,), real)
    parameters = array_at(w.parameters + m * w.size * w.item, (w.size,), one)
    state = array_at(w.state + 8 * m * w.state_rows * w.size, (w.state_rows, w.size), real)
    settings = array_at(w.settings + 8 * (m * w.phases + w.turn) * SETTINGS, (SETTINGS,), real)
    update = array_at(w.updates, (w.models, w.phases), integer)[m, w.turn]
    mask = array_at(w.halves, (CHUNK,), np.bool_(True))
    mask[:] = True
    for begin in range(0, count, CHUNK):
        size = min(CHUNK, count - begin)
        slopes = array_at(w.halves + 8 * CHUNK, (size,), real)
        taken = array_at(w.halves + 16 * CHUNK, (size,), one)
        states = array_at(w.halves + 24 * CHUNK, (w.state_rows, size), real)
        for i in range(size):
            entry = entries[begin + i]
            taken[i], slopes[i] = parameters[entry], gradient[entry]
            gradient[entry] = UNTOUCHED
        for s in range(w.state_rows):
            for i in range(size):
                states[s, i] = state[s, entries[begin + i]]
        step_piece(
            update, taken, slopes, states, settings, w.rate, w.own_step, mask, int(integer), 1.0
        )
        for i in range(size):
            parameters[entries[begin + i]] = taken[i]
        for s in range(w.state_rows):
            for i in range(size):
                state[s, entries[begin + i]] = states[s, i]
    if integers[INTERCEPT] != 0:
        first = outputs * width
        step_with(
            work,
            first,
            view_at(parameters, first, (outputs,)),
            view_at(gradient, first, (outputs,)),
        )
    return OK
