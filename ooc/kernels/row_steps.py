"""Steps of plain descent on wide sparse rows: row by row, without a gradient that is added up.

Where a step is the rate times the gradient and nothing else, rows of a batch may be subtracted one
after the other: no column is listed, no vector but the parameters is touched, and their entries are
still in a core's cache. Slopes are those of the parameters before the batch, as in any other step.
"""

import numpy as np

from ooc.core.compiler import array_at, lean_kernel, view_at
from ooc.kernels.counters import OK
from ooc.kernels.linear import INTERCEPT, OUTPUTS
from ooc.kernels.share import TOUCHED
from ooc.kernels.sparse import COUNT, INDEX_ADDRESS, SCALE, VALUE_ADDRESS, VALUE_BYTES, WIDTH


@lean_kernel
def subtract_rows(
    extents: np.ndarray,
    like: np.floating,
    slopes: np.ndarray,
    length: float,
    width: int,
    parameters: np.ndarray,
) -> None:
    """Subtract ``length * slope * row`` from the coefficients, for each row and class."""
    rows, outputs = slopes.shape
    for r in range(rows):
        size = extents[r, COUNT]
        places = array_at(extents[r, INDEX_ADDRESS], (size,), np.uint32(0))
        values = array_at(extents[r, VALUE_ADDRESS], (size,), like)
        for k in range(outputs):
            weights = view_at(parameters, k * width, (width,))
            step = parameters.dtype.type(length * np.float64(slopes[r, k]))
            # Rows beyond a hinge have none; NaN is not zero.
            if step != 0.0:
                for j in range(size):
                    weights[np.uint64(places[j])] -= step * parameters.dtype.type(values[j])


def leave_rows(work: np.ndarray, one: np.floating) -> int:
    """Merge nothing; the number above 0 says that there is a step to take."""
    return 1


def step_rows(work: np.ndarray, one: np.floating) -> int:
    """Take the step of plain descent with a batch's rows, and with the intercepts."""
    w, integer, real = work[0], np.int64(0), np.float64(0)
    integers = array_at(w.integers, (w.integer_count,), integer)
    outputs, width = integers[OUTPUTS], integers[WIDTH]
    length = w.rate / w.in_batch if w.mean != 0 else w.rate
    scale = array_at(w.reals, (w.real_count,), real)[SCALE]
    parameters = array_at(w.parameters + w.model * w.size * w.item, (w.size,), one)
    sums = array_at(w.gradient, (outputs,), real)
    for k in range(outputs):
        sums[k] = 0.0
    for slot in range(w.used):
        at = w.model * w.slots + slot
        rows = array_at(w.reports + at * 16, (2,), integer)[TOUCHED]
        slopes = array_at(w.gradients + at * w.gradient_size * w.item, (rows, outputs), one)
        extents = array_at(w.touched + at * w.capacity * 8, (rows, 3), integer)
        given = (slopes, length * scale, width, parameters)
        if integers[VALUE_BYTES] == 4:
            subtract_rows(extents, np.float32(0), *given)
        else:
            subtract_rows(extents, np.float64(0), *given)
        for r in range(rows):
            for k in range(outputs):
                sums[k] += np.float64(slopes[r, k])
    if integers[INTERCEPT] != 0:
        for k in range(outputs):
            parameters[outputs * width + k] -= length * sums[k]
    return OK
