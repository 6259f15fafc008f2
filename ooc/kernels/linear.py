"""The linear family: scores, losses and gradients of tiles, and the gradient of a whole batch.

A batch is worked off in tiles. A tile is gathered into cache as float32, then scored, then its
gradient is added up in float32 and carried on in float64, so that the error does not grow with
the batch. The loss is chosen by its code inside: nothing is compiled again for another choice.
All sums have a fixed order.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np

from ooc.core.compiler import exact_kernel, kernel
from ooc.kernels.counters import BAD_TARGET, NOT_FINITE, OK
from ooc.kernels.losses import target_is_valid, value_and_derivative
from ooc.kernels.rows import gather, standardise

SOFTMAX = 100
# A loss of the user's own; see `ooc.models.own_loss`.
OWN = 101


class Problem(NamedTuple):
    """What a model of the linear family computes.

    Attributes
    ----------
    loss_code, constant
        The loss, of `ooc.kernels.losses.LOSSES` or a code above, and its constant.
    scale, intercept
        Factor of every feature; whether scores have an intercept.
    class_weights
        (classes,) float32, what the losses of each label are multiplied with; empty for ones.
    mean, inverse
        (F,) float32, what is subtracted from features, and what they are then multiplied with;
        both empty where features are taken as they are.
    """

    loss_code: int
    constant: float
    scale: float
    intercept: bool
    class_weights: np.ndarray
    mean: np.ndarray
    inverse: np.ndarray


# A function over a tile, called by its address: (scores, targets, weights, count, out), where
# `out` receives a status, a row and the summed loss.
OWN_LOSS = numba.types.FunctionType(
    numba.types.void(
        numba.float32[:, ::1],
        numba.float32[::1],
        numba.float32[::1],
        numba.int64,
        numba.float64[::1],
    )
)


@numba.cfunc(OWN_LOSS.signature, cache=True)
def no_own_loss(scores, targets, weights, count, out):  # type: ignore[no-untyped-def]
    """Stand in where a loss of the table is used."""
    out[0] = NOT_FINITE


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
    problem: Problem,
) -> tuple[int, int, float]:
    """Replace scores by the derivatives of the weighted losses; return what they add up to.

    Returns
    -------
    status, row, loss
        `OK` and the summed loss, or the first row whose target or score cannot be used.
    """
    total = 0.0
    weighted, balanced = weights.size > 0, problem.class_weights.size > 0
    loss_code = problem.loss_code
    for r in range(count):
        weight = np.float64(weights[r]) if weighted else 1.0
        if balanced:
            if not label_is_valid(targets[r], problem.class_weights.size):
                return BAD_TARGET, r, total
            weight *= problem.class_weights[int(targets[r])]
        if loss_code == SOFTMAX:
            if not label_is_valid(targets[r], scores.shape[1]):
                return BAD_TARGET, r, total
            value = softmax_row(scores[r], int(targets[r]), weight)
        else:
            if not target_is_valid(loss_code, targets[r]):
                return BAD_TARGET, r, total
            value, derivative = value_and_derivative(
                loss_code, np.float64(scores[r, 0]), targets[r], problem.constant
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


@exact_kernel
def weighted_loss(
    scores: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    count: int,
    problem: Problem,
    own_loss: Callable[..., None],
    told: np.ndarray,
) -> tuple[int, int, float]:
    """Do as `loss_tile`, with a loss of the table or the user's own; `told` (3,) is scratch."""
    if problem.loss_code != OWN:
        return loss_tile(scores, targets, weights, count, problem)
    own_loss(scores, targets, weights, count, told)
    return int(told[0]), int(told[1]), told[2]


@kernel
def add_gradient(
    tile: np.ndarray,
    derivatives: np.ndarray,
    count: int,
    before: int,
    intercept: bool,
    partials: np.ndarray,
    halves: np.ndarray,
) -> None:
    """Add the tile's gradient to that of the batch, in two halves.

    Four rows are added at a time, so that the partial sums are loaded and stored once for four.
    Such groups go to the halves in turn, so that their difference tells the gradient's noise.

    Parameters
    ----------
    tile, derivatives
        (tile rows, F) and (tile rows, K) float32.
    count, before
        Rows of the tile, and rows of the batch before it, a multiple of 4.
    partials
        (2, F) float32 scratch.
    halves
        (2, parameters) float64, sums over the rows of each half.
    """
    outputs, features = derivatives.shape[1], tile.shape[1]
    for k in range(outputs):
        partials[:, :features] = np.float32(0.0)
        first, second = 0.0, 0.0
        r = 0
        while r + 4 <= count:
            which = ((before + r) // 4) % 2
            partial = partials[which]
            d0, d1 = derivatives[r, k], derivatives[r + 1, k]
            d2, d3 = derivatives[r + 2, k], derivatives[r + 3, k]
            if which == 0:
                first += np.float64(d0) + d1 + d2 + d3
            else:
                second += np.float64(d0) + d1 + d2 + d3
            for j in range(features):
                partial[j] += (
                    d0 * tile[r, j]
                    + d1 * tile[r + 1, j]
                    + d2 * tile[r + 2, j]
                    + d3 * tile[r + 3, j]
                )
            r += 4
        while r < count:
            which = half_of(before + r, before + count)
            partial = partials[which]
            d0 = derivatives[r, k]
            if which == 0:
                first += d0
            else:
                second += d0
            for j in range(features):
                partial[j] += d0 * tile[r, j]
            r += 1
        for h in range(2):
            for j in range(features):
                halves[h, k * features + j] += partials[h, j]
        if intercept:
            halves[0, outputs * features + k] += first
            halves[1, outputs * features + k] += second


@exact_kernel
def half_of(row: int, rows: int) -> int:
    """Tell to which half of a batch its row belongs: groups of four in turn, then single rows."""
    whole = rows // 4 * 4
    return (row // 4) % 2 if row < whole else (whole // 4 + row) % 2


@exact_kernel
def rows_of_first_half(rows: int) -> int:
    """Return how many of a batch's rows belong to its first half."""
    groups, rest = rows // 4, rows % 4
    singles = (rest + 1) // 2 if groups % 2 == 0 else rest // 2
    return 4 * ((groups + 1) // 2) + singles


@exact_kernel
def batch_gradient(
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
    partials: np.ndarray,
    halves: np.ndarray,
    gradient: np.ndarray,
) -> tuple[int, int, float]:
    """Compute the mean gradient of one batch, whose rows are given in `order`.

    Returns
    -------
    status, row, loss
        As `loss_tile`; the loss is the sum over the batch.
    """
    halves[:] = 0.0
    total, told = 0.0, np.zeros(3)
    for start in range(0, order.size, tile.shape[0]):
        count = min(tile.shape[0], order.size - start)
        gather(features, half, order, start, count, problem.scale, tile, 0)
        standardise(tile, 0, count, problem.mean, problem.inverse)
        score_tile(tile, count, parameters, problem.intercept, scores)
        rows = weights[start : start + count] if weights.size else weights
        status, row, value = weighted_loss(
            scores, targets[start : start + count], rows, count, problem, own_loss, told
        )
        if status != OK:
            return status, start + row, total
        add_gradient(tile, scores, count, start, problem.intercept, partials, halves)
        total += value
    for i in range(gradient.size):
        gradient[i] = (halves[0, i] + halves[1, i]) / order.size
    return OK, -1, total


@exact_kernel
def score_rows(
    features: np.ndarray,
    half: bool,
    order: np.ndarray,
    problem: Problem,
    parameters: np.ndarray,
    tile: np.ndarray,
    scores: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill `out` (rows, K) float32 with the scores of the rows in `order`."""
    for start in range(0, order.size, tile.shape[0]):
        count = min(tile.shape[0], order.size - start)
        gather(features, half, order, start, count, problem.scale, tile, 0)
        standardise(tile, 0, count, problem.mean, problem.inverse)
        score_tile(tile, count, parameters, problem.intercept, scores)
        out[start : start + count] = scores[:count]
