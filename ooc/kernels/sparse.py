"""The linear family on sparse rows: what `ooc.kernels.linear` does, by non-zeros alone.

A share's integers are the extents of its rows, see `ooc.store.sparse_rows`: addresses of columns
and of values, and how many there are. Columns were checked when they were read.
"""

from typing import Any

import numpy as np

from ooc.core.compiler import (
    LINE_BYTES,
    array_at,
    array_of,
    lean_kernel,
    lean_sums,
    prefetch,
    view_at,
)
from ooc.kernels.counters import OK
from ooc.kernels.linear import INTERCEPT, LOSS, OUTPUTS, PAIR, RULE
from ooc.kernels.share import Numbers, Output, PointLoss, Share, Taken, call_loss

# Entries of the model's integers behind those of `ooc.kernels.linear`: columns, and bytes of a
# value. Its reals are the loss's constant, the scale of all features, and the weights of classes.
WIDTH, VALUE_BYTES = 5, 6
CONSTANT, SCALE, CLASSES = range(3)
INDEX_ADDRESS, VALUE_ADDRESS, COUNT = range(3)
# Rows lie anywhere in a window, and no processor guesses where the next one is: so many rows ahead
# so many bytes of it are asked for, and further ahead where it is.
AHEAD, ASKED_BYTES = 12, 256
FAR_AHEAD = 2 * AHEAD
# Classes that are worked on in one pass over a row.
TOGETHER = 4


@lean_kernel
def ask_for_row(extents: np.ndarray, row: int | np.int64) -> None:
    """Ask for the first of a row's columns and values, by whole lines of the cache."""
    size = min(ASKED_BYTES, 4 * extents[row, COUNT])
    for part in (INDEX_ADDRESS, VALUE_ADDRESS):
        address = extents[row, part]
        inside = address % LINE_BYTES
        for place in range(0, inside + size, LINE_BYTES):
            prefetch(address - inside + place)


def gather_extents(source: Any, taken: Taken, tile: np.ndarray) -> int:
    """Copy extents to a tile, and ask for the first rows of the next share."""
    rows, first = array_of(source, (1, taken.values)), taken.column
    for r in range(taken.rows):
        far = taken.start + r + FAR_AHEAD
        if far < taken.order.size:
            prefetch(rows.ctypes.data + rows.strides[0] * np.int64(taken.order[far]))
        row = np.int64(taken.order[taken.start + r])
        for j in range(taken.values):
            tile[taken.filled + r, first + j] = rows[row, j]
    after = taken.start + taken.rows
    for place in range(after, min(after + AHEAD, taken.order.size)):
        ask_for_row(rows, np.int64(taken.order[place]))
    return 0


@lean_sums
def score_rows(
    extents: np.ndarray,
    like: np.floating,
    parameters: np.ndarray,
    width: int,
    scale: float,
    intercept: bool,
    scores: np.ndarray,
) -> None:
    """Fill `scores` (rows, K) with scale X W^T + b; `like` has the type of a value."""
    rows, outputs = scores.shape
    for r in range(rows):
        if r + AHEAD < rows:
            ask_for_row(extents, r + AHEAD)
        count = extents[r, COUNT]
        columns = array_at(extents[r, INDEX_ADDRESS], (count,), np.uint32(0))
        values = array_at(extents[r, VALUE_ADDRESS], (count,), like)
        k = int(np.int64(0))
        # Four classes at a time: columns and values are read once for all of them.
        while k + TOGETHER <= outputs:
            w0 = view_at(parameters, k * width, (width,))
            w1 = view_at(parameters, (k + 1) * width, (width,))
            w2 = view_at(parameters, (k + 2) * width, (width,))
            w3 = view_at(parameters, (k + 3) * width, (width,))
            t0 = t1 = t2 = t3 = parameters.dtype.type(0.0)
            for j in range(count):
                column, value = np.uint64(columns[j]), values[j]
                t0 += value * w0[column]
                t1 += value * w1[column]
                t2 += value * w2[column]
                t3 += value * w3[column]
            scores[r, k], scores[r, k + 1], scores[r, k + 2], scores[r, k + 3] = t0, t1, t2, t3
            k += TOGETHER
        while k < outputs:
            weights = view_at(parameters, k * width, (width,))
            total = parameters.dtype.type(0.0)
            for j in range(count):
                total += values[j] * weights[np.uint64(columns[j])]
            scores[r, k] = total
            k += 1
        for k in range(outputs):
            total = scores[r, k] * parameters.dtype.type(scale)
            scores[r, k] = total + parameters[outputs * width + k] if intercept else total


@lean_sums
def fill_gradient(
    extents: np.ndarray,
    like: np.floating,
    derivatives: np.ndarray,
    width: int,
    scale: float,
    intercept: bool,
    gradient: np.ndarray,
) -> None:
    """Fill the gradient by coefficients and intercepts with sums over the rows."""
    rows, outputs = derivatives.shape
    for i in range(outputs * width):
        gradient[i] = 0.0
    for r in range(rows):
        count = extents[r, COUNT]
        columns = array_at(extents[r, INDEX_ADDRESS], (count,), np.uint32(0))
        values = array_at(extents[r, VALUE_ADDRESS], (count,), like)
        factor, k = derivatives.dtype.type(scale), int(np.int64(0))
        while k + TOGETHER <= outputs:
            d0, d1 = derivatives[r, k] * factor, derivatives[r, k + 1] * factor
            d2, d3 = derivatives[r, k + 2] * factor, derivatives[r, k + 3] * factor
            p0 = view_at(gradient, k * width, (width,))
            p1 = view_at(gradient, (k + 1) * width, (width,))
            p2 = view_at(gradient, (k + 2) * width, (width,))
            p3 = view_at(gradient, (k + 3) * width, (width,))
            for j in range(count):
                column, value = np.uint64(columns[j]), values[j]
                p0[column] += d0 * value
                p1[column] += d1 * value
                p2[column] += d2 * value
                p3[column] += d3 * value
            k += TOGETHER
        while k < outputs:
            slope = derivatives[r, k] * factor
            # Rows beyond a hinge have none; NaN is not zero.
            if slope != 0.0:
                partial = view_at(gradient, k * width, (width,))
                for j in range(count):
                    partial[np.uint64(columns[j])] += slope * values[j]
            k += 1
    if intercept:
        for k in range(outputs):
            summed = 0.0
            for r in range(rows):
                summed += derivatives[r, k]
            gradient[outputs * width + k] = summed


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share; see `ooc.kernels.share.accumulate_of`.

    `own` holds K values a row.
    """
    integers, reals, extents = numbers.integers, numbers.reals, share.integers
    rows, outputs, width = extents.shape[0], integers[OUTPUTS], integers[WIDTH]
    intercept, scale = integers[INTERCEPT] != 0, reals[SCALE]
    scores = view_at(own, 0, (rows, outputs))
    given = (width, scale, intercept)
    if integers[VALUE_BYTES] == 4:
        score_rows(extents, np.float32(0), parameters, *given, scores)
    else:
        score_rows(extents, np.float64(0), parameters, *given, scores)
    loss = PointLoss(integers[PAIR], integers[RULE], reals[CONSTANT], reals[CLASSES:])
    status = call_loss(
        integers[LOSS], (scores, share.targets, share.weights, loss, output.terms, output.report)
    )
    if status == OK:
        if integers[VALUE_BYTES] == 4:
            fill_gradient(extents, np.float32(0), scores, *given, output.gradient)
        else:
            fill_gradient(extents, np.float64(0), scores, *given, output.gradient)
    return status
