"""Gradients of rows, added up to batches of many sizes at once, with running means and spreads.

Each batch size is a level, made of the full batches of a smaller one that divides it; the first
is made of rows. All sums are float64 and have a fixed order.
"""

from collections.abc import Callable

import numpy as np

from ooc.core.compiler import exact_kernel, kernel
from ooc.kernels.counters import OK
from ooc.kernels.linear import Problem, score_tile, weighted_loss
from ooc.kernels.rows import gather, standardise

# Columns of the int64 levels: rows of a batch, the level that it is made of (-1: rows), rows in
# the batch at hand, and full batches so far.
SIZE, SOURCE, FILLED, BATCHES = range(4)
# Columns of the float64 sums: squared distances from the mean so far, their squares, and squared
# norms.
SPREAD, SPREAD_SQUARED, SQUARED_NORM = range(3)


@exact_kernel
def add_linear_rows(
    features: np.ndarray,
    half: bool,
    targets: np.ndarray,
    weights: np.ndarray,
    order: np.ndarray,
    problem: Problem,
    own_loss: Callable[..., None],
    parameters: np.ndarray,
    tile: np.ndarray,
    scores: np.ndarray,
    tile_targets: np.ndarray,
    tile_weights: np.ndarray,
    levels: np.ndarray,
    partial: np.ndarray,
    means: np.ndarray,
    sums: np.ndarray,
    total: np.ndarray,
) -> tuple[int, int]:
    """Add the gradient of each row of a window of the linear family.

    Parameters
    ----------
    features, half, targets, weights, order, problem, own_loss, parameters
        As in `ooc.kernels.linear.batch_gradient`.
    tile, scores, tile_targets, tile_weights
        Scratch; `tile_weights` is empty where `weights` is.
    levels, partial, means, sums, total
        See `complete`.

    Returns
    -------
    status, place
        `OK`, or why the row at this place of the window cannot be used.
    """
    outputs, width = scores.shape[1], tile.shape[1]
    batch = partial[0]
    weighted, told = weights.size > 0, np.zeros(3)
    for start in range(0, order.size, tile.shape[0]):
        count = min(tile.shape[0], order.size - start)
        gather(features, half, order, start, count, problem.scale, tile, 0)
        standardise(tile, 0, count, problem.mean, problem.inverse)
        for r in range(count):
            tile_targets[r] = targets[order[start + r]]
            if weighted:
                tile_weights[r] = weights[order[start + r]]
        score_tile(tile, count, parameters, problem.intercept, scores)
        status, bad, _ = weighted_loss(
            scores, tile_targets, tile_weights, count, problem, own_loss, told
        )
        if status != OK:
            return status, order[start + bad]
        for r in range(count):
            for k in range(outputs):
                derivative = np.float64(scores[r, k])
                base = k * width
                for j in range(width):
                    batch[base + j] += derivative * tile[r, j]
                if problem.intercept:
                    batch[outputs * width + k] += derivative
            levels[0, FILLED] += 1
            if levels[0, FILLED] == levels[0, SIZE]:
                complete(levels, partial, means, sums, total)
    return OK, -1


@exact_kernel
def add_batch(
    gradient: np.ndarray,
    count: int,
    levels: np.ndarray,
    partial: np.ndarray,
    means: np.ndarray,
    sums: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add the mean gradient of `count` rows: a batch of the first level, or an epoch's rest."""
    for j in range(gradient.size):
        partial[0, j] += count * gradient[j]
    levels[0, FILLED] += count
    if levels[0, FILLED] == levels[0, SIZE]:
        complete(levels, partial, means, sums, total)


@exact_kernel
def complete(
    levels: np.ndarray,
    partial: np.ndarray,
    means: np.ndarray,
    sums: np.ndarray,
    total: np.ndarray,
) -> None:
    """Close a batch of the first level, and every larger one that it completes.

    Parameters
    ----------
    levels
        (L, 4) int64, ascending batch sizes and what they are made of, see `SIZE`.
    partial, means
        (L, P) float64, sum of gradients over the batch at hand, and mean over full batches.
    sums
        (L, 3) float64, see `SPREAD`.
    total
        (P,) float64, sum of gradients over all rows.
    """
    total += partial[0]
    for i in range(len(levels)):
        source = levels[i, SOURCE]
        if source >= 0:
            # Only a level that was completed just now has all its rows.
            if levels[source, FILLED] != levels[source, SIZE]:
                continue
            partial[i] += partial[source]
            levels[i, FILLED] += levels[source, SIZE]
        if levels[i, FILLED] == levels[i, SIZE]:
            levels[i, BATCHES] += 1
            spread, norm = move_mean(partial[i], levels[i, SIZE], means[i], levels[i, BATCHES])
            sums[i, SPREAD] += spread
            sums[i, SPREAD_SQUARED] += spread * spread
            sums[i, SQUARED_NORM] += norm
    for i in range(len(levels)):
        if levels[i, FILLED] == levels[i, SIZE]:
            partial[i] = 0.0
            levels[i, FILLED] = 0


@kernel
def move_mean(partial: np.ndarray, size: int, mean: np.ndarray, count: int) -> tuple[float, float]:
    """Move the mean on to `count` batches (Welford 1962); return what it adds, and ``|g|^2``.

    The terms are (n-1)/n |g - mean of those before|^2. Their mean is the variance, and for
    independent batches they are uncorrelated, so that their own spread gives its error.

    Examples
    --------
    >>> mean = np.array([1.0])
    >>> move_mean(np.array([6.0]), 2, mean, 2), mean
    ((2.0, 9.0), array([2.]))
    """
    spread, norm = 0.0, 0.0
    for j in range(mean.size):
        value = partial[j] / size
        difference = value - mean[j]
        mean[j] += difference / count
        spread += difference * (value - mean[j])
        norm += value * value
    return spread, norm
