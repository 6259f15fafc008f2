"""The linear family: scores X W^T + b, and the gradient of a share of rows, whatever the loss."""

import numpy as np

from ooc.core.compiler import lean_kernel, lean_sums, view_at
from ooc.kernels.counters import OK
from ooc.kernels.rows import Stored, gather_tile
from ooc.kernels.share import Numbers, Output, PointLoss, Share, call_loss

# Entries of the model's integers: address of the loss over rows and of its pointwise pair, its
# rule for targets, K, and whether there is an intercept. Its reals are the loss's constant, then
# the weights of classes, if there are any.
LOSS, PAIR, RULE, OUTPUTS, INTERCEPT = range(5)


@lean_sums
def score(
    features: np.ndarray, parameters: np.ndarray, intercept: bool, scores: np.ndarray
) -> None:
    """Fill `scores` (rows, K) with X W^T + b.

    Parameters
    ----------
    features
        (rows, F).
    parameters
        Coefficients (K, F), flat, then K intercepts if there are any.
    """
    rows, outputs = scores.shape
    width = features.shape[1]
    for r in range(rows):
        for k in range(outputs):
            total = features.dtype.type(0.0)
            base = k * width
            for j in range(width):
                total += features[r, j] * parameters[base + j]
            if intercept:
                total += parameters[outputs * width + k]
            scores[r, k] = total


@lean_kernel
def score_stored(
    stored: Stored, tile: np.ndarray, parameters: np.ndarray, intercept: bool, scores: np.ndarray
) -> None:
    """Fill `scores` (rows, K) of rows as they are stored, a tile (rows, F) at a time."""
    room, (width, outputs) = tile.shape[0], (tile.shape[1], scores.shape[1])
    for start in range(0, stored.order.size, room):
        count = gather_tile(stored, start, tile)
        inputs = view_at(tile, 0, (count, width))
        score(inputs, parameters, intercept, view_at(scores, start * outputs, (count, outputs)))


@lean_sums
def fill_gradient(
    features: np.ndarray, derivatives: np.ndarray, intercept: bool, gradient: np.ndarray
) -> None:
    """Fill the gradient by coefficients and intercepts with sums over the rows.

    Four rows are added at a time, so that the sums are loaded and stored once for four.
    """
    rows, outputs = derivatives.shape
    width = features.shape[1]
    for k in range(outputs):
        partial = view_at(gradient, k * width, (width,))
        for j in range(width):
            partial[j] = 0.0
        summed, r = 0.0, 0
        while r + 4 <= rows:
            d0, d1 = derivatives[r, k], derivatives[r + 1, k]
            d2, d3 = derivatives[r + 2, k], derivatives[r + 3, k]
            summed += (np.float64(d0) + d1) + (np.float64(d2) + d3)
            for j in range(width):
                partial[j] += (
                    d0 * features[r, j]
                    + d1 * features[r + 1, j]
                    + d2 * features[r + 2, j]
                    + d3 * features[r + 3, j]
                )
            r += 4
        while r < rows:
            d0 = derivatives[r, k]
            summed += d0
            for j in range(width):
                partial[j] += d0 * features[r, j]
            r += 1
        if intercept:
            gradient[outputs * width + k] = summed


def accumulate(
    share: Share, parameters: np.ndarray, numbers: Numbers, own: np.ndarray, output: Output
) -> int:
    """Fill loss and gradient of a share; see `ooc.kernels.share.accumulate_of`.

    `own` holds K values a row.
    """
    integers, rows = numbers.integers, share.features.shape[0]
    outputs, intercept = integers[OUTPUTS], integers[INTERCEPT] != 0
    scores = view_at(own, 0, (rows, outputs))
    score(share.features, parameters, intercept, scores)
    loss = PointLoss(integers[PAIR], integers[RULE], numbers.reals[0], numbers.reals[1:])
    status = call_loss(
        integers[LOSS], (scores, share.targets, share.weights, loss, output.terms, output.report)
    )
    if status == OK:
        fill_gradient(share.features, scores, intercept, output.gradient)
    return status
