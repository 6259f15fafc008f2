"""The linear family: loss and gradient summed over the rows of a window, in float64.

Rows are float32, parameters, scores and sums float64: the gradient of a method that comes close
to the minimum must be exact to far more digits than a mini-batch's. Every sum has the order in
which it is written, so that a line search is told the same to the last bit by any process.
"""

import numpy as np

from ooc.core.compiler import exact_kernel
from ooc.kernels.counters import OK
from ooc.kernels.linear import Problem, loss_tile
from ooc.kernels.linear_window import Rows, Tile, load_targets
from ooc.kernels.rows import gather, standardise


@exact_kernel
def score_exactly(
    tile: np.ndarray, count: int, parameters: np.ndarray, intercept: bool, scores: np.ndarray
) -> None:
    """Fill ``scores[:count]`` (tile rows, K) float64 with X W^T + b, four rows at a time.

    Parameters
    ----------
    tile
        (tile rows, F) float32.
    parameters
        (P,) float64, see `ooc.kernels.linear.score_tile`.
    """
    outputs, features = scores.shape[1], tile.shape[1]
    for k in range(outputs):
        base = k * features
        bias = parameters[outputs * features + k] if intercept else 0.0
        r = 0
        while r + 4 <= count:
            a, b, c, d = bias, bias, bias, bias
            for j in range(features):
                weight = parameters[base + j]
                a += tile[r, j] * weight
                b += tile[r + 1, j] * weight
                c += tile[r + 2, j] * weight
                d += tile[r + 3, j] * weight
            scores[r, k], scores[r + 1, k], scores[r + 2, k], scores[r + 3, k] = a, b, c, d
            r += 4
        while r < count:
            a = bias
            for j in range(features):
                a += tile[r, j] * parameters[base + j]
            scores[r, k] = a
            r += 1


@exact_kernel
def add_gradient_exactly(
    tile: np.ndarray,
    derivatives: np.ndarray,
    count: int,
    intercept: bool,
    partial: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add the tile's gradient to `total` (P,) float64; `partial` (F,) float64 is scratch."""
    outputs, features = derivatives.shape[1], tile.shape[1]
    for k in range(outputs):
        partial[:] = 0.0
        summed, r = 0.0, 0
        while r + 4 <= count:
            a, b = derivatives[r, k], derivatives[r + 1, k]
            c, d = derivatives[r + 2, k], derivatives[r + 3, k]
            summed += (a + b) + (c + d)
            for j in range(features):
                partial[j] += (a * tile[r, j] + b * tile[r + 1, j]) + (
                    c * tile[r + 2, j] + d * tile[r + 3, j]
                )
            r += 4
        while r < count:
            a = derivatives[r, k]
            summed += a
            for j in range(features):
                partial[j] += a * tile[r, j]
            r += 1
        for j in range(features):
            total[k * features + j] += partial[j]
        if intercept:
            total[outputs * features + k] += summed


@exact_kernel
def add_window(
    rows: Rows,
    problem: Problem,
    parameters: np.ndarray,
    tile: Tile,
    partial: np.ndarray,
    total: np.ndarray,
) -> tuple[int, int, float]:
    """Add the gradients of a window's rows, tile by tile in their order.

    Parameters
    ----------
    parameters
        (P,) float64.
    tile
        Scratch; its scores are float64.
    partial
        (F,) float64 scratch.
    total
        (P,) float64, the sum to add to.

    Returns
    -------
    status, row, loss
        `OK` and the summed loss, or the place in the window of a row that cannot be used.
    """
    loss, tile_rows = 0.0, tile.values.shape[0]
    for first in range(0, rows.order.size, tile_rows):
        count = min(tile_rows, rows.order.size - first)
        gather(rows.features, rows.half, rows.order, first, count, problem.scale, tile.values, 0)
        standardise(tile.values, 0, count, problem.mean, problem.inverse)
        load_targets(rows, first, count, tile, 0)
        score_exactly(tile.values, count, parameters, problem.intercept, tile.scores)
        status, row, value = loss_tile(tile.scores, tile.targets, tile.weights, count, problem)
        if status != OK:
            return status, tile.ids[row], loss
        add_gradient_exactly(tile.values, tile.scores, count, problem.intercept, partial, total)
        loss += value
    return OK, -1, loss
