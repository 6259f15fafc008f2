"""The linear family: a whole window of mini-batch steps in one compiled call.

A batch is worked off in tiles. A tile is gathered into cache as float32, then scored, then its
gradient is added up in float32 and carried on in float64, so that the error does not grow with
the batch. Loss and optimizer are chosen by their codes inside: nothing is compiled again for
another choice. All sums have a fixed order.
"""

import math

import numpy as np

from ooc.compiled import exact_kernel, kernel
from ooc.kernels.rows import gather
from ooc.losses import target_is_valid, value_and_derivative
from ooc.optim import update

SOFTMAX = 100

OK = 0
BAD_TARGET = 1
NOT_FINITE = 2

# Entries of the int64 counters that a run carries from window to window.
STEP, IN_BATCH, IN_TILE, ROWS, BAD_ROW = range(5)
COUNTERS = 5
# Entries of the float64 totals.
LOSS_SUM, BATCH_LOSS = range(2)
TOTALS = 2


@kernel
def score_tile(
    tile: np.ndarray,
    count: int,
    parameters: np.ndarray,
    intercept: bool,
    scores: np.ndarray,
) -> None:
    """Fill ``scores[:count]`` with X W^T + b.

    Parameters
    ----------
    tile
        (tile rows, F) float32.
    parameters
        Coefficients (K, F), flat, then K intercepts if there are any; float32.
    scores
        (tile rows, K) float32.
    """
    outputs, features = scores.shape[1], tile.shape[1]
    for r in range(count):
        for k in range(outputs):
            total = np.float32(0.0)
            base = k * features
            for j in range(features):
                total += tile[r, j] * parameters[base + j]
            if intercept:
                total += parameters[outputs * features + k]
            scores[r, k] = total


@exact_kernel
def loss_tile(
    scores: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    count: int,
    loss_code: int,
) -> tuple[int, int, float]:
    """Replace scores by the derivatives of the weighted losses; return what they add up to.

    Returns
    -------
    status, row, loss
        `OK` and the summed loss, or the first row whose target or score cannot be used.
    """
    total = 0.0
    weighted = weights.size > 0
    for r in range(count):
        weight = weights[r] if weighted else 1.0
        if loss_code == SOFTMAX:
            if not label_is_valid(targets[r], scores.shape[1]):
                return BAD_TARGET, r, total
            value = softmax_row(scores[r], int(targets[r]), weight)
        else:
            if not target_is_valid(loss_code, targets[r]):
                return BAD_TARGET, r, total
            value, derivative = value_and_derivative(
                loss_code, np.float64(scores[r, 0]), targets[r], 0.0
            )
            scores[r, 0] = weight * derivative
        value *= weight
        if not math.isfinite(value):
            return NOT_FINITE, r, total
        total += value
    return OK, -1, total


@exact_kernel
def label_is_valid(target: float, classes: int) -> bool:
    """Tell whether a target is one of the whole numbers 0 to classes - 1."""
    return target >= 0 and target < classes and target == math.floor(target)


@exact_kernel
def softmax_row(scores: np.ndarray, label: int, weight: float) -> float:
    """Replace one row of scores by weighted derivatives; return its negative log-likelihood."""
    largest = scores[0]
    for k in range(1, scores.size):
        largest = max(largest, scores[k])
    partition = 0.0
    for k in range(scores.size):
        partition += math.exp(np.float64(scores[k]) - largest)
    value = math.log(partition) + largest - scores[label]
    for k in range(scores.size):
        probability = math.exp(np.float64(scores[k]) - largest) / partition
        scores[k] = weight * (probability - (1.0 if k == label else 0.0))
    return value


@kernel
def add_gradient(
    tile: np.ndarray,
    derivatives: np.ndarray,
    count: int,
    intercept: bool,
    partial: np.ndarray,
    gradient: np.ndarray,
) -> None:
    """Add the tile's gradient to `gradient` (float64); `partial` (float32) is scratch.

    Four rows are added at a time, so that the partial sums are loaded and stored once for four.
    """
    outputs, features = derivatives.shape[1], tile.shape[1]
    for k in range(outputs):
        for j in range(features):
            partial[j] = np.float32(0.0)
        r = 0
        while r + 4 <= count:
            d0, d1 = derivatives[r, k], derivatives[r + 1, k]
            d2, d3 = derivatives[r + 2, k], derivatives[r + 3, k]
            for j in range(features):
                partial[j] += (
                    d0 * tile[r, j]
                    + d1 * tile[r + 1, j]
                    + d2 * tile[r + 2, j]
                    + d3 * tile[r + 3, j]
                )
            r += 4
        while r < count:
            d0 = derivatives[r, k]
            for j in range(features):
                partial[j] += d0 * tile[r, j]
            r += 1
        for j in range(features):
            gradient[k * features + j] += partial[j]
        if intercept:
            total = 0.0
            for r in range(count):
                total += derivatives[r, k]
            gradient[outputs * features + k] += total


@exact_kernel
def batch_gradient(
    features: np.ndarray,
    half: bool,
    targets: np.ndarray,
    weights: np.ndarray,
    order: np.ndarray,
    scale: float,
    loss_code: int,
    intercept: bool,
    parameters: np.ndarray,
    tile: np.ndarray,
    scores: np.ndarray,
    partial: np.ndarray,
    gradient: np.ndarray,
) -> tuple[int, int, float]:
    """Compute the mean gradient of one batch, whose rows are given in `order`.

    Returns
    -------
    status, row, loss
        As `loss_tile`; the loss is the sum over the batch.
    """
    gradient[:] = 0.0
    total = 0.0
    for start in range(0, order.size, tile.shape[0]):
        count = min(tile.shape[0], order.size - start)
        gather(features, half, order, start, count, scale, tile, 0)
        score_tile(tile, count, parameters, intercept, scores)
        rows = weights[start : start + count] if weights.size else weights
        status, row, value = loss_tile(
            scores, targets[start : start + count], rows, count, loss_code
        )
        if status != OK:
            return status, start + row, total
        add_gradient(tile, scores, count, intercept, partial, gradient)
        total += value
    for i in range(gradient.size):
        gradient[i] /= order.size
    return OK, -1, total


@exact_kernel
def train_window(
    features: np.ndarray,
    half: bool,
    targets: np.ndarray,
    weights: np.ndarray,
    order: np.ndarray,
    start: int,
    block_starts: np.ndarray,
    block_rows: int,
    flush: bool,
    batch_size: int,
    scale: float,
    loss_code: int,
    intercept: bool,
    parameters: np.ndarray,
    settings: np.ndarray,
    penalised: np.ndarray,
    state: np.ndarray,
    tile: np.ndarray,
    tile_targets: np.ndarray,
    tile_weights: np.ndarray,
    tile_ids: np.ndarray,
    scores: np.ndarray,
    partial: np.ndarray,
    gradient: np.ndarray,
    counters: np.ndarray,
    totals: np.ndarray,
) -> int:
    """Take every step that the rows of one window complete.

    A batch may begin in one window and end in the next: its rows so far are in `gradient` and
    in the tile, and are carried over. With `flush` the epoch's last, shorter batch is taken.

    Parameters
    ----------
    features
        (rows, F) of any real dtype, see `ooc.kernels.rows.as_rows`.
    targets, weights
        (rows,) float32; `weights` may be empty.
    order, start
        Order of the rows, and the first place in it.
    block_starts, block_rows
        Row of the dataset at which each block of the window starts, to name a bad row.
    parameters
        Flat float32 vector, updated in place.
    tile, tile_targets, tile_weights, tile_ids, scores, partial, gradient
        Scratch that lives as long as the run; `tile_weights` is empty where `weights` is.
    counters, totals
        Progress that lives as long as the run.

    Returns
    -------
    int
        `OK`, or why the row ``counters[BAD_ROW]`` cannot be used; the parameters are then those
        before its batch.
    """
    in_batch, in_tile = counters[IN_BATCH], counters[IN_TILE]
    carried = in_tile
    weighted = weights.size > 0
    position = start
    # Where nothing of the last window could be read, what was carried over is still a batch.
    while position < order.size or (flush and in_batch + in_tile > 0):
        count = min(order.size - position, batch_size - in_batch - in_tile, tile.shape[0] - in_tile)
        gather(features, half, order, position, count, scale, tile, in_tile)
        for r in range(count):
            row = order[position + r]
            tile_targets[in_tile + r] = targets[row]
            tile_ids[in_tile + r] = row
            if weighted:
                tile_weights[in_tile + r] = weights[row]
        position += count
        in_tile += count
        ends_batch = in_batch + in_tile == batch_size or (flush and position == order.size)
        if in_tile == tile.shape[0] or ends_batch:
            score_tile(tile, in_tile, parameters, intercept, scores)
            status, row, value = loss_tile(scores, tile_targets, tile_weights, in_tile, loss_code)
            if status != OK:
                _number_rows(tile_ids, carried, in_tile, block_starts, block_rows)
                counters[BAD_ROW] = tile_ids[row]
                return status
            add_gradient(tile, scores, in_tile, intercept, partial, gradient)
            totals[BATCH_LOSS] += value
            in_batch += in_tile
            in_tile = 0
            carried = 0
        if ends_batch:
            for i in range(gradient.size):
                gradient[i] /= in_batch
            update(parameters, gradient, state, settings, counters[STEP], penalised)
            gradient[:] = 0.0
            counters[STEP] += 1
            counters[ROWS] += in_batch
            totals[LOSS_SUM] += totals[BATCH_LOSS]
            totals[BATCH_LOSS] = 0.0
            in_batch = 0
    _number_rows(tile_ids, carried, in_tile, block_starts, block_rows)
    counters[IN_BATCH], counters[IN_TILE] = in_batch, in_tile
    return OK


@exact_kernel
def _number_rows(
    ids: np.ndarray, first: int, last: int, block_starts: np.ndarray, block_rows: int
) -> None:
    """Turn positions in the window into rows of the dataset."""
    for r in range(first, last):
        ids[r] = block_starts[ids[r] // block_rows] + ids[r] % block_rows


@exact_kernel
def score_rows(
    features: np.ndarray,
    half: bool,
    order: np.ndarray,
    scale: float,
    intercept: bool,
    parameters: np.ndarray,
    tile: np.ndarray,
    scores: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill `out` (rows, K) float32 with the scores of the rows in `order`."""
    for start in range(0, order.size, tile.shape[0]):
        count = min(tile.shape[0], order.size - start)
        gather(features, half, order, start, count, scale, tile, 0)
        score_tile(tile, count, parameters, intercept, scores)
        out[start : start + count] = scores[:count]
