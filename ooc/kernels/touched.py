"""A part of the parameters of which a batch touches some rows only, such as a table of embeddings.

A share puts the gradients of the rows that it touched behind the dense part of its own. Rows are
merged in the order of the shares, and only they are updated: optimizer states of others stay as
they are. The noise of the gradient is that of the dense part.
"""

import numpy as np

from ooc.core.compiler import array_at
from ooc.core.hashing import mix
from ooc.kernels.counters import OK
from ooc.kernels.share import TOUCHED
from ooc.kernels.steps import step_with

_FREE = -1


def merge_touched(work: np.ndarray, one: np.floating) -> int:
    """Add up the gradients of touched rows; return how many rows were touched in all.

    Their numbers come to be in the record's `merged`, in the order in which shares named them, and
    their gradients behind the dense part of the step's gradient.
    """
    w, integer, real = work[0], np.int64(0), np.float64(0)
    width, dense = w.touched_width, w.touched_first
    places = array_at(w.places, (2, w.place_count), integer)
    keys, numbers = places[0], places[1]
    keys[:] = _FREE
    mask, count = np.uint64(w.place_count - 1), 0
    merged = array_at(w.merged, (w.slots * w.capacity,), integer)
    gradient = array_at(w.gradient, (w.gradient_count,), real)
    for slot in range(w.used):
        at = w.model * w.slots + slot
        share = array_at(w.gradients + at * w.gradient_size * w.item, (w.gradient_size,), one)
        touched = array_at(w.touched + at * w.capacity * 8, (w.capacity,), integer)
        report = array_at(w.reports + at * 16, (2,), integer)
        for k in range(report[TOUCHED]):
            row = touched[k]
            place = np.int64(mix(np.uint64(row)) & mask)
            while keys[place] != _FREE and keys[place] != row:
                place = np.int64(np.uint64(place + 1) & mask)
            if keys[place] == _FREE:
                keys[place], numbers[place], merged[count] = row, count, row
                for j in range(width):
                    gradient[dense + count * width + j] = 0.0
                count += 1
            begin, own = dense + numbers[place] * width, dense + k * width
            for j in range(width):
                gradient[begin + j] += share[own + j]
    factor = 1.0 / w.in_batch if w.mean != 0 else 1.0
    for i in range(dense, dense + count * width):
        gradient[i] *= factor
    gradient[dense + count * width :] = 0.0
    return count


def step_touched(work: np.ndarray, one: np.floating) -> int:
    """Take the optimizer's step for the rows that were touched."""
    w, width, dense = work[0], work[0].touched_width, work[0].touched_first
    merged = array_at(w.merged, (w.touched_count,), np.int64(0))
    for k in range(w.touched_count):
        first, own = dense + merged[k] * width, dense + k * width
        parameters = array_at(w.parameters + (w.model * w.size + first) * w.item, (width,), one)
        step_with(work, first, parameters, array_at(w.gradient + 8 * own, (width,), np.float64(0)))
    return OK
